/**
 * Prints what the shipped model answers: for a machine that cannot run the tests. It is bundled into an
 * unpacked package and run by the package's own Node, as `answers.js <backend> <prompts as JSON>`.
 */

import type { EngineInfo, EngineOptions } from '../../src/ipc/messages.ts';
import { answerInPieces, openShippedModel } from './shipped-model.ts';

export interface Answers {
  arch?: string;
  runtime?: EngineInfo['engine'];
  sha256: string;
  answers: { prompt: string; pieces: string[]; text: string }[];
}

if (import.meta.main) {
  const [backend = 'auto', prompts = '[]'] = process.argv.slice(2);
  const engine = await openShippedModel(backend as EngineOptions['backend']);
  const answers = [];
  for (const prompt of JSON.parse(prompts) as string[])
    answers.push({ prompt, ...(await answerInPieces(engine, prompt)) });
  const { model, engine: runtime } = engine.info;
  await engine.close();
  const said: Answers = { arch: process.arch, runtime, sha256: model.sha256, answers };
  console.log(JSON.stringify(said));
}
