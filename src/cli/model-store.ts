import { parseArgs } from 'node:util';
import { megabytes } from '../lib/megabytes.ts';
import { type StoredModel, shippedName } from '../supply/store.ts';
import { coded } from './coded.ts';
import { modelContext, onlyOne, storeOptions, storeUsage } from './model-context.ts';

export const listUsage = `slmd model list [--json]

The models of the store: which is active, what a rollback goes back to, what is downloaded in part.

  --json           prints them as JSON
${storeUsage}`;

export const removeUsage = `slmd model remove <model>

Removes a model of the store, or what was downloaded of one; never the active one.

${storeUsage}`;

export async function modelList(args: string[]): Promise<void> {
  const options = { ...storeOptions, json: { type: 'boolean', default: false } } as const;
  const { values } = parseArgs({ args, options });
  const { store, config } = modelContext(values);
  try {
    const models = await store.list();
    const { active } = store.pointer;
    if (values.json) console.log(JSON.stringify({ store: store.dir, active, models }, null, 2));
    else for (const line of lines(models, active)) console.log(line);
  } catch (error) {
    coded(error);
  }
  if (config.model.dir !== null)
    console.error(`model.dir is set: the daemon serves ${config.model.dir}, whatever is active here`);
}

export async function modelRemove(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: storeOptions });
  const model = onlyOne(positionals, 'model', removeUsage);
  await modelContext(values).store.remove(model).catch(coded);
  console.log(`${model} is removed`);
}

function lines(models: readonly StoredModel[], active: string | null): string[] {
  const shipped = `${active === null ? '*' : ' '} ${shippedName}`;
  const width = Math.max(0, ...models.map(({ name }) => name.length));
  return [
    shipped,
    ...models.map(({ name, bytes, state }) => {
      const mark = state === 'active' ? '*' : ' ';
      const note = {
        active: 'active',
        previous: 'previous',
        kept: '',
        partial: 'not complete: pull it again',
      };
      return `${mark} ${name.padEnd(width)} ${megabytes(bytes, 1).padStart(11)}  ${note[state]}`.trimEnd();
    }),
  ];
}
