import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import type { ChatMessage } from '../ipc/messages.ts';
import { SlmdError } from '../lib/errors.ts';

export interface TemplateTokens {
  bosToken: string | undefined;
  eosToken: string | undefined;
}

/** What the reference's `apply_chat_template` can be told besides the messages. */
export interface RenderOptions {
  /** JSON schemas of functions that the model may call; null (default) for none. */
  tools?: readonly unknown[] | null;
  /** Whether the text ends where the model is to answer; default true. */
  addGenerationPrompt?: boolean;
}

/**
 * A model's chat template: Jinja that turns messages into the one text the model was trained on.
 *
 * It gets what Hugging Face transformers gives (`apply_chat_template`): messages, the generation
 * prompt, the tokens that begin and end a text, `raise_exception` and `strftime_now`.
 */
export class ChatTemplate {
  readonly #program: ReturnType<typeof parse>;
  readonly #source: string;
  readonly #tokens: TemplateTokens;
  readonly #now: () => Date;

  /** @throws when the source is not Jinja */
  constructor(source: string, tokens: TemplateTokens, now: () => Date = () => new Date()) {
    // Jinja reads every line end as \n; a template that was saved with \r\n must not give the model an \r.
    const lines = source.replace(/\r\n?/g, '\n');
    this.#program = parse(tokenize(lines, { lstrip_blocks: true, trim_blocks: true }));
    this.#source = source;
    this.#tokens = tokens;
    this.#now = now;
  }

  /** @throws {SlmdError} `invalid_request` when the template refuses these messages, `engine_failed` when it fails */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    let refusal: SlmdError | undefined;
    const environment = this.#environment(messages, options);
    environment.set('raise_exception', (message: unknown) => {
      refusal = this.#refusal(message);
      throw refusal;
    });
    try {
      const rendered: unknown = new Interpreter(environment).run(this.#program).value;
      return String(rendered);
    } catch (thrown) {
      if (refusal !== undefined) throw refusal;
      // The library's message may quote a value, and values are what somebody wrote in confidence.
      throw new SlmdError('engine_failed', 'the chat template failed', { cause: thrown });
    }
  }

  /** The library's own set of globals has a clock of its own and cannot be given another. */
  #environment(
    messages: readonly ChatMessage[],
    { tools = null, addGenerationPrompt = true }: RenderOptions,
  ): Environment {
    const { bosToken, eosToken } = this.#tokens;
    const globals = {
      ...{ true: true, false: false, none: null, True: true, False: false, None: null },
      ...(bosToken === undefined ? {} : { bos_token: bosToken }),
      ...(eosToken === undefined ? {} : { eos_token: eosToken }),
      messages: messages.map(({ role, content }) => ({ role, content })),
      add_generation_prompt: addGenerationPrompt,
      tools,
      documents: null,
      strftime_now: (format: string) => strftime(this.#now(), format),
      range,
    };
    const environment = new Environment();
    for (const [name, value] of Object.entries(globals)) environment.set(name, value);
    return environment;
  }

  /** A message that stands in the template cannot contain what the requester wrote; another may. */
  #refusal(message: unknown): SlmdError {
    const reason = typeof message === 'string' && this.#source.includes(message) ? `: ${message}` : '';
    return new SlmdError('invalid_request', `the model's chat template refuses these messages${reason}`);
  }
}

/** The template of `tokenizer_config.json`: a text, or a list of named ones with a default. */
export function templateOfConfig(config: Record<string, unknown>): string | undefined {
  const template = config.chat_template;
  if (typeof template === 'string') return template;
  if (!Array.isArray(template)) return undefined;
  const named = template as { name?: unknown; template?: unknown }[];
  const found = named.find(({ name }) => name === 'default')?.template;
  return typeof found === 'string' ? found : undefined;
}

/** Python's `range`. */
function range(first: number, end?: number, step = 1): number[] {
  const [from, to] = end === undefined ? [0, first] : [first, end];
  if (step === 0) throw new Error('range() needs a step');
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
}

/** What templates use of strftime (C locale, local time); an unknown directive stays as it is. */
function strftime(date: Date, format: string): string {
  const name = (options: Intl.DateTimeFormatOptions) => date.toLocaleDateString('en-US', options);
  const two = (n: number) => String(n).padStart(2, '0');
  const directives: Record<string, () => string> = {
    a: () => name({ weekday: 'short' }),
    A: () => name({ weekday: 'long' }),
    b: () => name({ month: 'short' }),
    B: () => name({ month: 'long' }),
    d: () => two(date.getDate()),
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 || 12),
    m: () => two(date.getMonth() + 1),
    M: () => two(date.getMinutes()),
    p: () => (date.getHours() < 12 ? 'AM' : 'PM'),
    S: () => two(date.getSeconds()),
    y: () => two(date.getFullYear() % 100),
    Y: () => String(date.getFullYear()),
    '%': () => '%',
  };
  return format.replace(/%([a-zA-Z%])/g, (whole, directive: string) => directives[directive]?.() ?? whole);
}
