const hour = '([01][0-9]|2[0-3])';
const sixty = '[0-5][0-9]';
const time = `${hour}:${sixty}:${sixty}(\\.[0-9]{1,6})?(Z|[+-]${hour}:${sixty})`;
const leapYear = '([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)';
const date = [
  '[0-9]{4}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])',
  '[0-9]{4}-(0[469]|11)-(0[1-9]|[12][0-9]|30)',
  '[0-9]{4}-02-(0[1-9]|1[0-9]|2[0-8])',
  `${leapYear}-02-29`,
].join('|');
const octet = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
const label = '[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?';
const hex = '[0-9a-f]';

/** The formats of JSON Schema that a regular expression can hold a text to, and the expression. */
export const formatPatterns: Readonly<Record<string, string>> = {
  date,
  time,
  'date-time': `(${date})T${time}`,
  uuid: `${hex}{8}-${hex}{4}-${hex}{4}-${hex}{4}-${hex}{12}`,
  ipv4: `${octet}(\\.${octet}){3}`,
  email: `[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@${label}(\\.${label})+`,
};
