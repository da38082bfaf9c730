import type { Example } from '../train/data/example.ts';
import { devices, rooms, scenes } from '../train/data/home.ts';

/** What a command is to become, and a text of it. */
export interface Form {
  schema: { type: 'object'; properties: Record<string, unknown>; required: string[] };
  /** What a model that fills the form right would write. */
  answer(expected: Record<string, unknown>): Record<string, unknown>;
}

const names = <T>(values: readonly T[], nameOf: (value: T) => string) => ({
  enum: [...new Set(values.map(nameOf))],
});
const actions = {
  enum: [
    ...['turn_on', 'turn_off', 'toggle', 'set_brightness', 'brighten', 'dim', 'set_color', 'set_temperature'],
    ...['raise_temperature', 'lower_temperature', 'set_speed', 'speed_up', 'slow_down', 'open', 'close'],
    ...['set_position', 'stop', 'lock', 'unlock', 'water', 'stop_watering', 'set_scene', 'set_timer'],
    'cancel_timer',
  ],
};
const room = names([...rooms, { name: 'all' }], ({ name }) => name);
const amount = { type: 'integer', minimum: 0, maximum: 1000 };

/** Members in the order in which the shipped model was trained to write them, and a form that it never saw. */
export const forms: Record<string, Form> = {
  'its own actions': {
    schema: {
      type: 'object',
      properties: {
        action: actions,
        target: { type: 'string', maxLength: 32 },
        room,
        value: { anyOf: [{ type: 'number', minimum: 0, maximum: 1000 }, { type: 'string' }] },
        scene: names(scenes, ([, name]) => name),
        delay: amount,
        unit: { enum: ['seconds', 'minutes', 'hours'] },
      },
      required: ['action'],
    },
    answer: (expected) => expected,
  },
  'four members required': {
    schema: {
      type: 'object',
      properties: {
        action: actions,
        target: names(Object.values(devices).flat(), ({ name }) => name),
        room,
        value: amount,
      },
      required: ['action', 'target', 'room', 'value'],
    },
    answer: ({ action, target, room, value }) => ({
      action,
      target: target ?? 'light',
      room: room ?? 'all',
      value: typeof value === 'number' ? Math.round(value) : 0,
    }),
  },
};

/** The text that a model which knows the form would answer. */
export function answerText({ answer }: Form, { expected }: Example): string {
  return JSON.stringify(answer(JSON.parse(expected) as Record<string, unknown>));
}
