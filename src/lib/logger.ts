import { pino } from 'pino';
import pretty from 'pino-pretty';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFormat = 'auto' | 'json' | 'pretty';
export type Logger = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error'>;

/**
 * Logs to stderr: JSON lines for a service manager, one readable line at a terminal.
 *
 * No prompt and no answer is ever logged, at any level; what goes in is ids, codes and numbers.
 */
export function createLogger(level: LogLevel, format: LogFormat): Logger {
  const readable = format === 'pretty' || (format === 'auto' && process.stderr.isTTY);
  const options = { level, base: null };
  if (!readable) return pino(options, pino.destination({ fd: 2, sync: true }));
  const colorize = process.stderr.isTTY && process.env.NO_COLOR === undefined;
  return pino(
    options,
    pretty({ destination: 2, sync: true, colorize, translateTime: 'SYS:HH:MM:ss', singleLine: true }),
  );
}
