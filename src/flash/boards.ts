import { readFileSync } from 'node:fs';
import { parse } from 'csv-parse/sync';
import * as z from 'zod';
import { devicePattern } from '../contract/topics.ts';
import { messageOf } from '../lib/errors.ts';
import { FlashError } from './errors.ts';

/** An access point's name is bytes, not text; 32 of them. IEEE 802.11, §9.4.2.2. */
const ssidBytesMax = 32;
/** WPA2: a passphrase of 8 to 63 printable ASCII characters, or a key of 64 hexadecimal digits. */
const passphrase = /^(?:[\x20-\x7e]{8,63}|[0-9a-fA-F]{64})$/;
const url = /^(mqtts?|wss?):\/\/[^\s@]+$/;

/** What one board is told on its card. Files are of the machine that flashes. */
const boardSchema = z
  .strictObject({
    device: z.string('is needed').regex(devicePattern, 'must match [a-z0-9][a-z0-9_-]{0,62}'),
    broker_url: z
      .string('is needed: --broker, or a field of the boards file')
      .regex(url, 'must be mqtt://, mqtts://, ws:// or wss:// without a password'),
    broker_username: z.string().min(1).optional(),
    broker_password: z.string().min(1).optional(),
    ca_file: z.string().min(1).optional(),
    cert_file: z.string().min(1).optional(),
    key_file: z.string().min(1).optional(),
    wifi_ssid: z
      .string()
      .min(1)
      .refine((name) => Buffer.byteLength(name) <= ssidBytesMax, `has more than ${ssidBytesMax} bytes`)
      .refine((name) => !name.includes('\0'), 'has a NUL')
      .optional(),
    wifi_password: z
      .string()
      .regex(passphrase, 'must be 8 to 63 printable ASCII characters, or 64 hexadecimal digits')
      .optional(),
    wifi_country: z
      .string()
      .regex(/^[A-Z]{2}$/, 'must be two capital letters, as in DE')
      .optional(),
    ssh_key: z
      .string()
      .regex(/^(ssh|ecdsa|sk)-[^\n]+$/, 'must be one line of a public key')
      .optional(),
    user: z
      .string()
      .regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'must be a user name')
      .optional(),
  })
  .superRefine((board, context) => {
    const needs = (name: keyof typeof board, other: keyof typeof board) => {
      if (board[name] !== undefined && board[other] === undefined)
        context.addIssue({ code: 'custom', path: [name], message: `needs ${other}` });
    };
    needs('wifi_password', 'wifi_ssid');
    needs('wifi_ssid', 'wifi_country');
    needs('cert_file', 'key_file');
    needs('key_file', 'cert_file');
  });

export type BoardPlan = z.infer<typeof boardSchema>;
export type BoardFields = { [name in keyof BoardPlan]?: string };

/**
 * One plan for each board: `shared` fields for all, overridden by a board's own.
 *
 * @throws FlashError `boards_invalid` with every problem of every board
 */
export function planBoards(shared: BoardFields, own: readonly BoardFields[]): BoardPlan[] {
  const problems: string[] = [];
  const plans = own.flatMap((fields, i) => {
    const parsed = boardSchema.safeParse({ ...shared, ...fields });
    if (parsed.success) return [parsed.data];
    // Values may be passwords: the path and the rule say enough.
    for (const { path, message } of parsed.error.issues)
      problems.push(`board ${fields.device ?? i + 1}: ${path.join('.')}: ${message}`);
    return [];
  });
  const names = plans.map(({ device }) => device);
  for (const name of new Set(names.filter((name, i) => names.indexOf(name) !== i)))
    problems.push(`board ${name}: two boards have this name; they would fight for one place at the broker`);
  if (own.length === 0) problems.push('there is no board');
  if (problems.length > 0) throw new FlashError('boards_invalid', problems.join('\n'));
  return plans;
}

/** `greenhouse` and 3 give `greenhouse-1` to `greenhouse-3`; without a count the name itself. */
export function countBoards(name: string, count: number | null): BoardFields[] {
  if (count === null) return [{ device: name }];
  return Array.from({ length: count }, (_, i) => ({ device: `${name}-${i + 1}` }));
}

/**
 * Boards out of a CSV file, with a first line of the fields' names.
 *
 * @throws FlashError `boards_invalid`
 */
export function readBoards(file: string): BoardFields[] {
  try {
    const rows = parse(readFileSync(file), {
      bom: true,
      columns: true,
      skip_empty_lines: true,
      trim: true,
    }) as Record<string, string>[];
    return rows.map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== '')));
  } catch (error) {
    throw new FlashError('boards_invalid', `${file}: ${messageOf(error)}`);
  }
}
