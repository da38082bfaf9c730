// What counts as wrong, from the most severe to the least. A line of readings gets one sentence: about the
// first rule here that any reading breaks, and of several readings that break it, about the furthest off.

export type Quantity =
  | 'temperature'
  | 'humidity'
  | 'co2'
  | 'smoke'
  | 'leak'
  | 'soil'
  | 'tank'
  | 'battery'
  | 'pressure'
  | 'light';

export interface Reading {
  quantity: Quantity;
  /** Absent where a line names no place at all. */
  room: { name: string; words: string } | undefined;
  value: number;
  /** The value as the line shows it, which the sentence repeats. */
  shown: string;
}

interface Rule {
  quantity: Quantity;
  /** The reading is wrong at this value and beyond it. */
  limit: number;
  side: 'above' | 'below';
  sentence: (value: string, place: string | undefined) => string;
}

const at = (subject: string, value: string, place: string | undefined, meaning: string): string =>
  `${subject}${place ? ` in the ${place}` : ''} is ${value}${meaning}.`;

const seen = (subject: string, place: string | undefined, advice: string): string =>
  `${subject}${place ? ` in the ${place}` : ''}: ${advice}.`;

export const rules: Rule[] = [
  {
    quantity: 'smoke',
    limit: 1,
    side: 'above',
    sentence: (_, place) => seen('There is smoke', place, 'leave the house and call for help'),
  },
  {
    quantity: 'leak',
    limit: 1,
    side: 'above',
    sentence: (_, place) => seen('Water is leaking', place, 'shut off the main valve'),
  },
  {
    quantity: 'temperature',
    limit: 35,
    side: 'above',
    sentence: (value, place) => at('Temperature', `${value} °C`, place, ', which is dangerously hot'),
  },
  {
    quantity: 'temperature',
    limit: 5,
    side: 'below',
    sentence: (value, place) => at('Temperature', `${value} °C`, place, ', so pipes may freeze'),
  },
  {
    quantity: 'co2',
    limit: 1500,
    side: 'above',
    sentence: (value, place) => at('CO2', `${value} ppm`, place, ', so the air is stale: open a window'),
  },
  {
    quantity: 'humidity',
    limit: 70,
    side: 'above',
    sentence: (value, place) => at('Humidity', `${value} %`, place, ', so mould can grow'),
  },
  {
    quantity: 'humidity',
    limit: 25,
    side: 'below',
    sentence: (value, place) => at('Humidity', `${value} %`, place, ', so the air is too dry'),
  },
  {
    quantity: 'soil',
    limit: 20,
    side: 'below',
    sentence: (value, place) => at('Soil moisture', `${value} %`, place, ', so the plants need water'),
  },
  {
    quantity: 'tank',
    limit: 10,
    side: 'below',
    sentence: (value, place) => at('Tank level', `${value} %`, place, ', so it is nearly empty'),
  },
  {
    quantity: 'battery',
    limit: 15,
    side: 'below',
    sentence: (value, place) => at('Battery', `${value} %`, place, ', so it needs replacing soon'),
  },
];

const allNormal = 'All readings are normal.';

export function breaks(rule: Rule, reading: Reading): boolean {
  if (rule.quantity !== reading.quantity) return false;
  return rule.side === 'above' ? reading.value >= rule.limit : reading.value <= rule.limit;
}

/** The reading that matters most and the sentence about it; no reading where all is normal. */
export function judge(readings: readonly Reading[]): { sentence: string; worst?: Reading } {
  for (const rule of rules) {
    const broken = readings.filter((reading) => breaks(rule, reading));
    if (broken.length === 0) continue;
    const further = (one: Reading, other: Reading) =>
      rule.side === 'above' ? one.value > other.value : one.value < other.value;
    const worst = broken.reduce((worst, reading) => (further(reading, worst) ? reading : worst));
    return { sentence: rule.sentence(worst.shown, worst.room?.words), worst };
  }
  return { sentence: allNormal };
}
