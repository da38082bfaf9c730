export const evalUsage = '';
