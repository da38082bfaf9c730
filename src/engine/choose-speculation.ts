import type { Sequence } from '../onnx/decoder.ts';
import type { BackendName } from '../onnx/runtime.ts';
import { Speculation } from './speculation.ts';
import { measureRuns } from './speculation-probe.ts';

/** Who said whether tokens are guessed. */
export type SpeculationChosenBy =
  | 'setting'
  /** It gives the logits of the last token alone. */
  | 'backend'
  /** So does the graph. */
  | 'graph'
  /** They choose by a nose: what that turns round, no bound on rounding holds. */
  | 'experts'
  /** A token's depends on the others of its run, which a measurement with others does not bound. */
  | 'rounding'
  /** It is too short for a measurement. */
  | 'context'
  /** What runs of several tokens take, as measured at load. */
  | 'probe';

export interface SpeculationOptions {
  backend: BackendName;
  wanted: boolean;
  /** Whether the graph has a router of experts. */
  experts: boolean;
  /** Whether tokens of a run share a scale. */
  sharesScales: boolean;
}

export interface SpeculationChoice {
  /** Null where no token is guessed. */
  speculation: Speculation | null;
  chosenBy: SpeculationChosenBy;
  /** Of `RunTraits`; null where nobody measured. */
  costs: readonly number[] | null;
}

/** Guesses where it may, it can, and drafts that are all right would pay. Leaves the sequence empty. */
export async function chooseSpeculation(
  sequence: Sequence,
  { backend, wanted, experts, sharesScales }: SpeculationOptions,
): Promise<SpeculationChoice> {
  const none = (chosenBy: SpeculationChosenBy) => ({ speculation: null, chosenBy, costs: null });
  if (!wanted) return none('setting');
  if (sequence.forwardEach === undefined) return none(backend === 'node' ? 'backend' : 'graph');
  if (experts) return none('experts');
  if (sharesScales) return none('rounding');
  const traits = await measureRuns(sequence);
  if (traits === null) return none('context');
  const speculation = new Speculation(traits);
  return { speculation: speculation.mayPay ? speculation : null, chosenBy: 'probe', costs: traits.costs };
}
