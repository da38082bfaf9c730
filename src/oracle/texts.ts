/** What every model is asked. Whatever its answers are, a quantized one should give the same. */
export const prompts: readonly string[] = [
  'Turn on the kitchen light.',
  'Could you dim the bedroom lamp to 30 percent?',
  'greenhouse: temperature 38.5 C, humidity 41 %, soil moisture 12 %, battery 87 %',
  'cellar temp 14.2, rh 71 %, leak 0, smoke 0',
  'Set the thermostat in the living room to 21 degrees and close the blinds.',
  'What is the capital of France?',
  'Say in one sentence why leaves are green.',
  'Write a list of five things to pack for a rainy weekend.',
  'A pump moves 40 litres a minute. How long does it take for 1,000 litres?',
  'Translate into German: the door is open.',
  'Make JSON of this: sensor 7, 19.4 degrees, battery low.',
  'The freezer has been at minus 4 degrees since two o’clock. What should I do?',
  'Write a short letter that asks a neighbour to water the plants.',
  'Which is heavier, a kilogram of iron or a kilogram of wool?',
  'Explain to a child what a transistor does.',
  'Sort these numbers: 17, 4, 99, 23, 8.',
  'for i in range(3): print(i * i) — what does this print?',
  'Summarise: the boiler was serviced in March, the filter was changed, and the pressure is now 1.6 bar.',
  'Give me a rhyme about a slow snail.',
  'Lock the front door in ten minutes.',
];

/** Prose of many kinds, for perplexity: a text nobody was trained on. */
export const prose: readonly string[] = [
  `The board lies in a cellar behind the boiler, where nobody has been since spring. It has no screen and no keyboard. Twice a minute a sensor on the wall writes down how warm and how damp the air is, and a small program reads the line and decides whether anyone upstairs needs to know. Most days nobody does. On the third of October a pipe began to drip, and by the time the first puddle had reached the door a message was on the kitchen tablet: water on the cellar floor, humidity ninety-one percent and rising.`,
  `A good measurement says three things: what was measured, in which unit, and how sure one may be of it. A thermometer that shows 21.4 degrees may well be half a degree off, and an average over an hour hides the minute in which the window was open. Whoever compares two machines runs them in turn, not one after the other, because the afternoon is warmer than the morning and because somebody else may be using the same network.`,
  `Take two onions, a clove of garlic and a handful of parsley. Chop them finely and fry them in oil over a low flame until they are soft. Add a tin of tomatoes, a pinch of salt and a little sugar, and let it simmer for twenty minutes. Meanwhile boil the water for the pasta. If the sauce becomes too thick, a spoon of that water will loosen it.`,
  `function median(values) {\n  const sorted = [...values].sort((a, b) => a - b);\n  const middle = Math.floor(sorted.length / 2);\n  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;\n}\n\n// An empty list has no median: the caller must not ask for one.\nassert.equal(median([3, 1, 2]), 2);\n`,
  `{"device":"greenhouse-2","status":"ready","queue":{"depth":0,"running":1},"latency":{"ttft_ms":{"p50":184.2,"p95":260.9},"tpot_ms":{"p50":41.7,"p95":55.0}},"board":{"soc_temp_c":61.3,"throttled":[]}}`,
  `Dear Ms Okafor, thank you for your letter of the ninth. We have looked at the pump again and found that the seal, not the motor, was at fault; it has been replaced at no cost. Please let it run for an hour before you close the cover. If it is still loud after that, call us, and we will come by on Thursday. Kind regards, the workshop.`,
];
