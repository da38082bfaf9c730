import { randomUUID } from 'node:crypto';
import type { Config } from '../config/schema.ts';
import type { Timings, Usage } from '../contract/result.ts';
import { brokerAccess } from '../mqtt/connection-options.ts';
import { Requester } from '../mqtt/requester.ts';
import { ConnectError } from '../mqtt/trouble.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

/** A connected requester; a broker that cannot be used ends the command with exit code 4. */
export async function connectRequester(config: Pick<Config, 'mqtt' | 'topic_prefix'>): Promise<Requester> {
  const { mqtt } = config;
  const requester = new Requester({
    prefix: config.topic_prefix,
    fallback_urls: mqtt.fallback_urls,
    protocol: mqtt.protocol,
    connection: { ...brokerAccess(mqtt), client_id: `slmd-ask-${randomUUID().slice(0, 8)}` },
  });
  try {
    await requester.connect();
    return requester;
  } catch (error) {
    await requester.close();
    if (error instanceof ConnectError) throw new CommandError(exitCodes.broker, error.trouble.message);
    throw error;
  }
}

/** One line for a person: where the time went. */
export function timingsLine(timings: Timings, usage: Usage): string {
  const tpot = timings.tpot_ms === null ? '–' : `${timings.tpot_ms.toFixed(1)} ms`;
  const rate = timings.decode_tokens_per_second;
  return [
    `queue ${timings.queue_ms.toFixed(1)} ms`,
    `TTFT ${timings.ttft_ms.toFixed(1)} ms`,
    `TPOT ${tpot}`,
    rate === null ? '– tokens/s' : `${Math.round(rate)} tokens/s`,
    `total ${timings.total_ms.toFixed(1)} ms`,
    `${usage.prompt_tokens} + ${usage.completion_tokens} tokens`,
  ].join(' · ');
}
