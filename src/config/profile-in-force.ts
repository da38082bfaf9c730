import type { Settings } from './environment.ts';
import type { ChosenProfile } from './profile.ts';
import { isSet, leavesOf } from './settings.ts';

/** What the device profile comes to. */
export interface ProfileInForce {
  /** `none` where none fits. */
  name: string;
  chosen_by: ChosenProfile['chosen_by'];
  /** What it sets, by path, but for what another source sets. */
  settings: { [path: string]: unknown };
}

/** @param over sources that win over the profile */
export function profileInForce(
  { profile, chosen_by }: ChosenProfile,
  over: readonly { settings: Settings }[],
): ProfileInForce {
  const settings = leavesOf(profile?.settings ?? {}).filter(
    ([path]) => !over.some((source) => isSet(source.settings, path)),
  );
  return {
    name: profile?.name ?? 'none',
    chosen_by,
    settings: Object.fromEntries(settings.map(([path, value]) => [path.join('.'), value])),
  };
}

/** For a person: which one, and how it came to be. */
export function describeProfile({ name, chosen_by }: ProfileInForce): string {
  const how = {
    setting: 'as configured',
    model: 'by the board’s model',
    architecture: 'by the architecture alone',
    none: 'as none fits this board',
  };
  return `${name} (${how[chosen_by]})`;
}
