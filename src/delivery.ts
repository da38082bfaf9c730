import { tooLarge } from './contract/compose.ts';
import type { RequestEvent, Result, TokenBatch } from './contract/result.ts';
import type { Topics } from './contract/topics.ts';
import type { Routing } from './journal/record.ts';
import type { Parcel } from './mqtt/outbox.ts';

/** The ways out of the device. */
export interface Post {
  /** At least once, whatever happens to the connection. */
  deliver(parcel: Parcel): void;
  /** QoS 1, if there is a connection now. */
  event(topic: string, event: RequestEvent): void;
  /** QoS 0, if there is a connection now; false where there is none. */
  tokens(topic: string, batch: TokenBatch): boolean;
}

export interface DeliveryParts {
  post: Pick<Post, 'deliver'>;
  topics: Topics;
  /** How long a result stays retained on the broker. */
  result_retention_s: number;
}

/** Brings results out: to the result topic and to where a copy was asked for. */
export class Delivery {
  readonly #parts: DeliveryParts;

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
  }

  /**
   * To the result topic, and a copy to the Response Topic; `delivered` when the broker has both, or has refused
   * the copy. A fleeting one goes with the connection: its prompt is not acknowledged, and comes again.
   */
  result(
    payload: string,
    { reply_to, traceparent }: Routing,
    how: { retain: boolean; fleeting: boolean; delivered(): void },
  ): void {
    const { post, topics, result_retention_s } = this.#parts;
    const result = JSON.parse(payload) as Result;
    const parcel = {
      payload,
      fleeting: how.fleeting,
      ...(traceparent === null ? {} : { user_properties: { traceparent } }),
      smaller: (bytesMax: number | null) =>
        JSON.stringify(tooLarge(result, Buffer.byteLength(payload), bytesMax)),
    };
    let missing = reply_to === null ? 1 : 2;
    const delivered = () => {
      if (--missing === 0) how.delivered();
    };
    const expiry = how.retain ? { expiry_s: result_retention_s } : {};
    post.deliver({ ...parcel, ...expiry, topic: topics.result(result.id), retain: how.retain, delivered });
    if (reply_to !== null)
      post.deliver({
        ...parcel,
        topic: reply_to.topic,
        correlation: reply_to.correlation,
        retain: false,
        optional: true,
        delivered,
      });
  }

  /** Takes a retained result back from the broker. */
  clear(id: string): void {
    const { post, topics } = this.#parts;
    post.deliver({
      topic: topics.result(id),
      payload: '',
      retain: true,
      optional: true,
      smaller: () => '',
      delivered: () => undefined,
    });
  }
}
