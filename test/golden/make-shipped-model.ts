/**
 * Writes `shipped-model.json`: what the shipped model answers to `shipped-prompts.json`, token by token.
 *
 * Run it after a new model has passed `npm run eval`, and read the difference before it is committed.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { answerInPieces, openShippedModel } from '../support/shipped-model.ts';

const here = import.meta.dirname;
const prompts = JSON.parse(readFileSync(join(here, 'shipped-prompts.json'), 'utf8')) as string[];
const engine = await openShippedModel();
const answers = [];
for (const prompt of prompts) answers.push({ prompt, ...(await answerInPieces(engine, prompt)) });
await engine.close();
const golden = { model: engine.info.model.id, sha256: engine.info.model.sha256, answers };
writeFileSync(join(here, 'shipped-model.json'), `${JSON.stringify(golden, null, 2)}\n`);
