// Everything around the core of a sentence: politeness, reasons, casing and punctuation.
import type { Random } from './random.ts';
import type { Split } from './split.ts';

const anyPrefix = [
  'please ',
  'please, ',
  'hey, ',
  'hey ',
  'hi, ',
  'hello, ',
  'ok, ',
  'okay ',
  'hey home, ',
  'hello house, ',
  'computer, ',
  'house, ',
  'slmd, ',
  'hey slmd ',
  'excuse me, ',
  'sorry, ',
  'good evening, ',
  'good morning, ',
  'now ',
  'right, ',
  'alright, ',
  'so, ',
  'well, ',
  'quick: ',
  'quickly, ',
  'um, ',
  'yes, ',
  'thanks, now ',
  'one more thing: ',
];

const imperativePrefix = [
  'can you ',
  'can you please ',
  'could you ',
  'could you please ',
  'would you ',
  'would you please ',
  'will you ',
  'will you please ',
  'can u ',
  'could u please ',
  'hey, can you ',
  'hi, could you ',
  'ok, please ',
  'hey home, please ',
  'i want you to ',
  'i need you to ',
  "i'd like you to ",
  'i would like you to ',
  'kindly ',
  'go ahead and ',
  'go and ',
  'be so kind and ',
  'be a dear and ',
  'do me a favour and ',
  'just ',
  'now please ',
  "let's ",
  'make sure to ',
  'remember to ',
  "don't forget to ",
  'it is time to ',
  'time to ',
  'you can ',
  'you may ',
  'you should ',
  'you need to ',
  'try to ',
  'i wonder if you could ',
  'is it possible to ',
  'would it be possible to ',
  'would you be able to ',
  'are you able to ',
  'do you think you could ',
  'maybe you could ',
  'if you can, ',
  'when you have a moment, ',
  'could somebody ',
  'would you kindly ',
];

const suffix = [
  ' please',
  ', please',
  ' please',
  ' thanks',
  ', thanks',
  ', thank you',
  ' thank you',
  ' now',
  ' right now',
  ' now please',
  ' for me',
  ' for me please',
  ' asap',
  ' immediately',
  ' right away',
  ' at once',
  ' if you can',
  ' if possible',
  ' when you can',
  ' will you',
  ', would you',
  ', ok',
  ', okay',
  ' again',
  ' quickly',
  ', my friend',
];

const reasonBefore = [
  "i'm home, ",
  'i am home, ',
  "we're leaving, ",
  'i am leaving now, ',
  "i'm going to bed, ",
  'it is getting late, ',
  "it's late, ",
  'guests are coming, ',
  'we have guests, ',
  'the kids are asleep, ',
  'my hands are full, ',
  "i can't reach it, ",
  'i am busy, ',
  'i am working, ',
  'dinner is ready, ',
  'the baby is sleeping, ',
  'before i forget, ',
  'as always, ',
];

const reasonAfter = [
  ", i'm home",
  ' before we leave',
  ' before i go to bed',
  ' because i am tired',
  ' because we have guests',
  ' since nobody is home',
  ", it's late",
  ' so i can relax',
  ', the kids are asleep',
  ', i am leaving',
  ' while i am away',
  ' for tonight',
  ' for now',
  ', i am busy',
];

/** Puts politeness or a reason around a core; `novelty` is the chance of one that training never sees. */
export function dress(
  core: string,
  imperative: boolean,
  random: Random,
  split: Split,
  novelty: number,
): string {
  const choose = (group: string, patterns: string[]): string => {
    const { trained, heldOut } = split.literals(group, patterns);
    return random.pick(random.chance(novelty) ? heldOut : trained);
  };
  let text = core;
  if (imperative && random.chance(0.3)) text = choose('imperative prefix', imperativePrefix) + text;
  else if (random.chance(0.22)) text = choose('any prefix', anyPrefix) + text;
  if (random.chance(0.2)) text += choose('suffix', suffix);
  const reason = random.next();
  if (reason < 0.03) text = choose('reason before', reasonBefore) + text;
  else if (reason < 0.06) text += choose('reason after', reasonAfter);
  return text;
}

/** Casing and punctuation. Templates are written in lower case. */
export function finish(text: string, random: Random): string {
  let written = text.replace(/\bi\b/g, random.chance(0.6) ? 'I' : 'i');
  if (random.chance(0.04)) written = written.replace(/[,']/g, '');
  written = random.weighted<(plain: string) => string>([
    [(plain) => plain, 40],
    [sentenceCase, 50],
    [(plain) => plain.toUpperCase(), 2],
    [(plain) => plain.replace(/(^| )([a-z])/g, (letter) => letter.toUpperCase()), 2],
  ])(written);
  const asks = /^(can|could|would|will|is it|how about|are you|do you|may)\b/i.test(text);
  return (
    written +
    random.weighted([
      ['', 50],
      ['.', 22],
      ['!', 6],
      ['?', asks ? 40 : 0.6],
      ['!!', 0.6],
      ['...', 0.6],
      [' ', 0.6],
    ])
  );
}

export function sentenceCase(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
