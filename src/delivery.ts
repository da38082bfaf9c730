import { tooLarge } from './contract/compose.ts';
import type { RequestEvent, Result, TokenBatch } from './contract/result.ts';
import type { Topics } from './contract/topics.ts';
import type { Routing } from './journal/record.ts';
import type { Uplink } from './uplink.ts';

export interface DeliveryParts {
  uplink: Pick<Uplink, 'deliver' | 'sendNow'>;
  topics: Topics;
  /** How long a result stays retained on the broker. */
  result_retention_s: number;
}

/** Told when the broker has the result and its copy, or has refused the copy. */
type Delivered = () => void;

/**
 * What goes out of the device for a request: events, pieces of the answer, and the result, to the result topic
 * and as a copy to the Response Topic.
 */
export class Delivery {
  readonly #parts: DeliveryParts;

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
  }

  /** QoS 1, if there is a connection now. */
  event(event: RequestEvent): void {
    const { uplink, topics } = this.#parts;
    uplink.sendNow(topics.event(event.id), event, 1);
  }

  /** QoS 0, if there is a connection now; false where there is none. */
  tokens(batch: TokenBatch): boolean {
    const { uplink, topics } = this.#parts;
    return uplink.sendNow(topics.token(batch.id), batch, 0);
  }

  /** Retained, and sent until the broker has it, whatever happens to the connection. */
  result(id: string, payload: string, routing: Routing, delivered: Delivered): void {
    this.#send(id, payload, routing, { retain: true, fleeting: false, delivered });
  }

  /** For a prompt that came again. It goes with the connection: not acknowledged, the prompt comes once more. */
  resultAgain(id: string, payload: string, routing: Routing, delivered: Delivered): void {
    this.#send(id, payload, routing, { retain: true, fleeting: true, delivered });
  }

  /** Not retained: nobody asks for it later. It goes with the connection, as its prompt does. */
  refusal(id: string, payload: string, routing: Routing, delivered: Delivered): void {
    this.#send(id, payload, routing, { retain: false, fleeting: true, delivered });
  }

  /** Takes a retained result back from the broker, whatever happens to the connection. */
  clear(id: string): void {
    this.#clear(id, false, () => undefined);
  }

  /** For who says that the result is there. It goes with the connection: not acknowledged, the word comes again. */
  clearFor(id: string, delivered: Delivered): void {
    this.#clear(id, true, delivered);
  }

  #clear(id: string, fleeting: boolean, delivered: Delivered): void {
    const { uplink, topics } = this.#parts;
    uplink.deliver({
      topic: topics.result(id),
      payload: '',
      retain: true,
      fleeting,
      optional: true,
      smaller: () => '',
      delivered,
    });
  }

  #send(
    id: string,
    payload: string,
    { reply_to, traceparent }: Routing,
    { retain, fleeting, delivered }: { retain: boolean; fleeting: boolean; delivered: Delivered },
  ): void {
    const { uplink, topics, result_retention_s } = this.#parts;
    let missing = reply_to === null ? 1 : 2;
    const parcel = {
      payload,
      fleeting,
      ...(traceparent === null ? {} : { user_properties: { traceparent } }),
      smaller: (bytesMax: number | null) => errorInstead(payload, bytesMax),
      delivered: () => {
        if (--missing === 0) delivered();
      },
    };
    const expiry = retain ? { expiry_s: result_retention_s } : {};
    uplink.deliver({ ...parcel, ...expiry, topic: topics.result(id), retain });
    if (reply_to === null) return;
    const { topic, correlation } = reply_to;
    uplink.deliver({ ...parcel, topic, correlation, retain: false, optional: true });
  }
}

/** What is said of a result that is too large for the broker's packets. */
function errorInstead(payload: string, bytesMax: number | null): string {
  const result = JSON.parse(payload) as Result;
  return JSON.stringify(tooLarge(result, Buffer.byteLength(payload), bytesMax));
}
