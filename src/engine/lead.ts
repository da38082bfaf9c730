/** How far the token that would be chosen is ahead of the next. */
export interface Lead {
  id: number;
  lead: number;
}

export function leadOf(logits: Float32Array): Lead {
  let id = 0;
  let second = Number.NEGATIVE_INFINITY;
  for (let i = 1; i < logits.length; i++) {
    const logit = logits[i]!;
    if (logit > logits[id]!) {
      second = logits[id]!;
      id = i;
    } else if (logit > second) second = logit;
  }
  return { id, lead: logits[id]! - second };
}

/** How much of a lead is lost by other logits of the same tokens; more than all of it where another token comes first. */
export function lostOf({ id, lead }: Lead, logits: Float32Array): number {
  let other = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (i !== id && logits[i]! > other) other = logits[i]!;
  return lead - (logits[id]! - other);
}
