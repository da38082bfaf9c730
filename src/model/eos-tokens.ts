import * as z from 'zod';

const tokenId = z.number().int().nonnegative();
const eosSchema = z.object({ eos_token_id: z.union([tokenId, z.array(tokenId)]).nullish() });

/**
 * The tokens that end an answer, by one of a model's configurations; none where it names none.
 *
 * @returns null where `eos_token_id` is neither a token id nor a list of them
 */
export function eosTokenIds(config: unknown): number[] | null {
  const parsed = eosSchema.safeParse(config);
  return parsed.success ? [parsed.data.eos_token_id ?? []].flat() : null;
}
