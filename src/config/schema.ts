import * as z from 'zod';
import { devicePattern, isTopicFilter, prefixPattern } from '../contract/topics.ts';
import { timerMaxMs } from '../lib/clock.ts';

const file = z.string().min(1).nullable().default(null);
const brokerUrl = z
  .string()
  .regex(/^(mqtts?|wss?):\/\/[^\s@]+$/, {
    error: 'must be mqtt://, mqtts://, ws:// or wss:// with a host and without a password',
    abort: true,
  })
  .refine(URL.canParse, 'is not a URL');
const topicFilter = z.string().refine(isTopicFilter, 'is not a topic filter');

/**
 * Everything that can be configured: the types, the defaults and the documentation in one place.
 * Every bound has a name, a default and, in its description, a reason.
 */
export const configSchema = z.strictObject({
  device: z
    .string()
    .regex(devicePattern, 'must match [a-z0-9][a-z0-9_-]{0,62}')
    .nullable()
    .default(null)
    .describe('Name of this device in every topic. Default: the host name.'),
  topic_prefix: z.string().regex(prefixPattern, 'must be plain topic levels').default('slmd'),
  profile: z
    .string()
    .default('auto')
    .describe('Device profile from devices/, or auto: recognised by the board.'),
  mqtt: section({
    url: brokerUrl.default('mqtt://localhost:1883'),
    fallback_urls: z
      .array(brokerUrl)
      .max(8)
      .default([])
      .describe('Other nodes of the same cluster, tried in turn while one cannot be reached.'),
    protocol: z
      .enum(['auto', '5.0', '3.1.1'])
      .default('auto')
      .describe('auto speaks MQTT 5 first and falls back to 3.1.1.'),
    username: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe('Default: the device name, where there is a password.'),
    password: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe('Better in password_file, which can be a systemd credential.'),
    password_file: file,
    ca_file: file.describe('Certificate authority of the broker; default: the ones Node trusts.'),
    cert_file: file,
    key_file: file,
    client_id: z.string().min(1).max(65).nullable().default(null).describe('Default: slmd-<device>.'),
    keepalive_s: z.int().min(1).max(3600).default(30),
    connect_timeout_ms: z.int().min(500).max(120_000).default(10_000),
    session_expiry_s: z
      .int()
      .min(0)
      .max(0xffff_fffe)
      .default(7 * 24 * 3600)
      .describe('How long the broker keeps prompts for a device that is away.'),
    receive_maximum: z
      .int()
      .min(1)
      .max(65_535)
      .default(16)
      .describe('Prompts under way at once: back-pressure on the broker.'),
    reconnect_min_ms: z.int().min(10).max(timerMaxMs).default(1000),
    reconnect_max_ms: z.int().min(10).max(timerMaxMs).default(60_000),
    duplicate_wait_ms: z
      .int()
      .min(1000)
      .max(timerMaxMs / 2)
      .default(60_000)
      .describe('Two devices with one name take turns of this length, and both say so.'),
    will_delay_s: z
      .int()
      .min(0)
      .default(5)
      .describe('A Wi-Fi flap shorter than this is not an offline event.'),
    response_topics: z
      .array(topicFilter)
      .max(32)
      .nullable()
      .default(null)
      .describe(
        'Where a Response Topic may point. Default: <topic_prefix>/<device>/response/#. Anything else is refused: it would lend the requester this device’s rights.',
      ),
  })
    .refine(...atMost('reconnect_min_ms', 'reconnect_max_ms'))
    .refine(...together('cert_file', 'key_file'))
    .refine(...together('key_file', 'cert_file')),
  model: section({
    dir: file.describe(
      'A model directory. Default: the active model of the store, else the one that ships with slmd.',
    ),
    store: file.describe(
      'Where pulled and activated models are. Default: $STATE_DIRECTORY/models, else ~/.local/share/slmd/models.',
    ),
    mirror: z
      .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
      .default('https://huggingface.co')
      .describe('Where slmd model pull downloads from; the daemon itself never downloads.'),
    public_key_file: file.describe(
      'Ed25519 public keys (PEM) of who may sign models. Other models are refused, but for the one that ships with slmd.',
    ),
    require_signature: z
      .boolean()
      .nullable()
      .default(null)
      .describe('false lets unsigned models pass; a wrong signature never does. Default: true with a key.'),
    variant: z
      .enum(['int4', 'int8', 'float32'])
      .default('int4')
      .describe(
        'How weights are kept where there is a choice: which of several graphs is pulled and served, and what slmd model build makes.',
      ),
    kv_cache: z
      .enum(['float32', 'int8'])
      .default('float32')
      .describe('What models that slmd model build makes keep their KV cache in.'),
    bytes_max: z
      .int()
      .min(1)
      .nullable()
      .default(null)
      .describe(
        'Weights that this board reads for a token in good time; of a model with more, slmd says so and goes on. null: any.',
      ),
  }).refine(...together('require_signature', 'public_key_file')),
  engine: section({
    backend: z
      .enum(['auto', 'native', 'node'])
      .default('auto')
      .describe('native calls ONNX Runtime without copies; node is slower; auto: native where it can be.'),
    threads: z
      .int()
      .min(0)
      .max(64)
      .default(0)
      .describe('0 lets the engine choose, by a short measurement when it loads a model.'),
    rows: z
      .union([z.literal('auto'), z.int().min(1).max(4)])
      .default('auto')
      .describe(
        'Prompts that are answered at a time. auto: up to 4, where their memory fits and a measurement at load says that it helps.',
      ),
    speculation: z
      .boolean()
      .default(true)
      .describe(
        'Guesses what an answer repeats of its prompt, where a measurement says that it pays; the answer is the same. false: no token is guessed.',
      ),
    cache_dir: file.describe(
      'Where the engine keeps what it can compute again. Default: $CACHE_DIRECTORY, else ~/.cache/slmd/<device>.',
    ),
    prefix_bytes_max: z
      .int()
      .min(0)
      .default(268_435_456)
      .describe(
        'What beginnings that several prompts share may take of the disk, to be there after a restart; they can be read as text. 0: none is written.',
      ),
    prefill_chunk_tokens: z.int().min(1).max(4096).default(128).describe('Also the grain of progress.'),
    context_length_max: z
      .int()
      .min(16)
      .default(4096)
      .describe('Bounds the KV cache; the model may allow less.'),
    stall_ms: z
      .int()
      .min(1000)
      .max(timerMaxMs)
      .default(120_000)
      .describe('An engine without a sign of life for so long is restarted.'),
    load_max_ms: z
      .int()
      .min(1000)
      .max(timerMaxMs)
      .default(600_000)
      .describe('A model that takes longer to load is given up; a large one on a slow card takes minutes.'),
    restart_min_ms: z.int().min(10).max(timerMaxMs).default(500),
    restart_max_ms: z.int().min(10).max(timerMaxMs).default(60_000),
    attempts_max: z
      .int()
      .min(1)
      .max(10)
      .default(3)
      .describe('A prompt that took the engine down this often is refused.'),
  }).refine(...atMost('restart_min_ms', 'restart_max_ms')),
  generation: section({
    system_prompt: z.string().nullable().default(null).describe('For requests that bring no system message.'),
    max_tokens: z.int().min(1).nullable().default(512).describe('null: as much as the context leaves.'),
    temperature: z.number().min(0).max(2).default(0),
    top_k: z.int().min(0).max(1000).default(40),
    top_p: z.number().gt(0).max(1).default(1),
    min_p: z.number().min(0).max(1).default(0),
    repetition_penalty: z.number().gt(0).max(2).default(1),
    stream: z.boolean().default(true),
    deadline_ms: z.int().min(1).nullable().default(null).describe('For requests that name none.'),
  }),
  journal: section({
    dir: file.describe(
      'Where accepted prompts and their results are kept. Default: $STATE_DIRECTORY, else ~/.local/state/slmd/<device>.',
    ),
    retention_s: z
      .int()
      .min(1)
      .max(30 * 24 * 3600)
      .default(3600)
      .describe('How long a result stays retained, and its id remembered.'),
    results_kept_max: z.int().min(1).default(1000).describe('Results remembered at most.'),
    bytes_max: z
      .int()
      .min(1_048_576)
      .default(67_108_864)
      .describe('What the journal may take of the disk; a fifth of it is remembered, the rest is history.'),
  }),
  limits: section({
    payload_bytes_max: z
      .int()
      .min(256)
      .max(16_777_216)
      .default(131_072)
      .describe('A context length of text, generously.'),
    queue_depth_max: z
      .int()
      .min(1)
      .max(10_000)
      .default(64)
      .describe('Longer waits are better refused at once.'),
    queue_bytes_max: z
      .int()
      .min(1024)
      .default(4_194_304)
      .describe('What waiting prompts may cost in memory.'),
    drain_ms: z.int().min(0).max(timerMaxMs).default(10_000).describe('How long a stopping device works on.'),
    // What cannot wait at all would be told to come again later, for ever.
  }).refine(...atMost('payload_bytes_max', 'queue_bytes_max')),
  telemetry: section({
    interval_s: z.number().min(0.1).max(3600).default(10),
    window_s: z.number().min(1).max(86_400).default(300).describe('What the percentiles look back on.'),
  }),
  home_assistant: section({
    discovery: z.boolean().default(true),
    prefix: z.string().regex(prefixPattern, 'must be plain topic levels').default('homeassistant'),
  }),
  log: section({
    level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
    format: z
      .enum(['auto', 'json', 'pretty'])
      .default('auto')
      .describe('auto: readable at a terminal, else JSON.'),
  }),
});

type Parsed = z.output<typeof configSchema>;

type DeepReadonly<T> = T extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
    : T;

/** The configuration the daemon runs on: complete, checked and frozen. */
export type Config = DeepReadonly<
  Parsed & {
    device: string;
    mqtt: { response_topics: string[] };
    /** `trust` is what `public_key_file` and `require_signature` come to; null: any model will do. */
    model: { store: string; trust: { public_keys: string; required: boolean } | null };
    engine: { cache_dir: string };
    journal: { dir: string };
  }
>;

/** A part of the file: absent means its defaults, and a name it does not know is a problem. */
function section<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape).prefault({} as never);
}

type Check = [(section: object) => boolean, { error: string; path: string[]; when(): boolean }];

/** The larger setting of two is at fault. Said beside any other problem of the section, as every problem is. */
function atMost(smaller: string, larger: string): Check {
  const inOrder = (section: object) => {
    const { [smaller]: low, [larger]: high } = section as { [name: string]: unknown };
    return typeof low !== 'number' || typeof high !== 'number' || low <= high;
  };
  return [inOrder, { error: `must be at least ${smaller}`, path: [larger], when: () => true }];
}

/** A setting that says nothing without another one. */
function together(name: string, other: string): Check {
  const complete = (section: object) => {
    const { [name]: value, [other]: needed } = section as { [name: string]: unknown };
    return (typeof value !== 'string' && value !== true) || typeof needed === 'string';
  };
  return [complete, { error: `needs ${other}`, path: [name], when: () => true }];
}
