import type { PromptRequest } from '../../src/contract/prompt.ts';
import { type Place, type QueueBounds, RequestQueue } from '../../src/queue/queue.ts';
import { promptRequest } from './prompts.ts';
import { settled } from './wait.ts';

export const roomy = { depth_max: 100, bytes_max: 1_000_000 };

/** A queue that notes whose turn came, in order; a turn is seen one microtask after it is given. */
export class Watched {
  readonly queue: RequestQueue;
  readonly turns: string[] = [];
  readonly places = new Map<string, Place>();

  constructor(bounds: QueueBounds = roomy, concurrency = 1) {
    this.queue = new RequestQueue(bounds);
    this.queue.concurrency = concurrency;
  }

  /** Null where a bound is reached. */
  enter(id: string, more: Partial<PromptRequest> = {}): Place | null {
    const request = promptRequest({ id, ...more });
    if (!this.queue.hasRoom(request)) return null;
    const place = this.queue.enter(request);
    this.places.set(id, place);
    void place.turn.then(() => this.turns.push(id));
    return place;
  }

  /** Gives up the turn of whoever runs until nobody is left; the order in which they ran. */
  async drain(): Promise<string[]> {
    await settled();
    for (let i = 0; i < this.turns.length; i++) {
      this.places.get(this.turns[i] ?? '')?.leave();
      await settled();
    }
    return this.turns;
  }

  get counts(): [waiting: number, bytes: number, running: number] {
    return [this.queue.depth, this.queue.bytes, this.queue.running];
  }
}
