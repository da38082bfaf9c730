/** How a finding matters: `problem` keeps the device from its work, `warning` makes it worse at it. */
export type Level = 'ok' | 'note' | 'warning' | 'problem';

/** One line of a diagnosis. */
export interface Finding {
  /** What was looked at, a stable name for scripts: `memory`, `broker.tls` … */
  check: string;
  level: Level;
  message: string;
  /** What to do about it; null where nothing needs doing. */
  fix: string | null;
}

export function ok(check: string, message: string): Finding {
  return { check, level: 'ok', message, fix: null };
}

export function note(check: string, message: string, fix: string | null = null): Finding {
  return { check, level: 'note', message, fix };
}

export function warning(check: string, message: string, fix: string): Finding {
  return { check, level: 'warning', message, fix };
}

export function problem(check: string, message: string, fix: string): Finding {
  return { check, level: 'problem', message, fix };
}
