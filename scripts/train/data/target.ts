// How a device is named, and where its room stands in the sentence.
import { type Device, type DeviceKind, type Room, rooms } from './home.ts';
import type { Random } from './random.ts';

export interface Place {
  name: string;
  words: string;
  preposition: 'in' | 'on';
}

/** A device in words: `text` stands for it in the sentence, which `before` and `after` go around. */
export interface Spoken {
  name: string;
  place: Place | undefined;
  text: string;
  before: string;
  after: string;
}

export function nameTarget(device: Device, kind: DeviceKind, isRoomless: boolean, random: Random): Spoken {
  const word = random.pick(device.words);
  const spoken = (text: string, place?: Place, before = '', after = ''): Spoken => ({
    name: device.name,
    place,
    text,
    before,
    after,
  });
  if (device.many && random.chance(0.08)) return everyOne(device, spoken, random);
  if (isRoomless || random.chance(0.22)) {
    return spoken(
      random.weighted([
        [`the ${word}`, 12],
        [word, 3],
        [`my ${word}`, 1],
        [`our ${word}`, 0.7],
        [`that ${word}`, 0.4],
      ]),
    );
  }
  const room = random.pick(rooms.filter((each) => fits(each, kind, device)));
  const place = { name: room.name, words: random.pick(room.words), preposition: room.preposition };
  const where = `${place.preposition} the ${place.words}`;
  const [text, before, after] = random.weighted<[string, string, string]>([
    [[`the ${place.words} ${word}`, '', ''], 30],
    [[`${place.words} ${word}`, '', ''], 14],
    [[`the ${word} ${where}`, '', ''], 20],
    [[`${word} ${where}`, '', ''], 6],
    [[`my ${place.words} ${word}`, '', ''], 3],
    [[`the ${word} ${place.preposition} my ${place.words}`, '', ''], 2],
    [[`the ${word} of the ${place.words}`, '', ''], 1.5],
    [[`the ${word} in ${place.words}`, '', ''], 2],
    [[`${word} ${place.words}`, '', ''], 3],
    [[`${place.words}'s ${word}`, '', ''], 1],
    [[`the ${word}`, '', ` ${where}`], 8],
    [[word, '', ` ${where}`], 2],
    [[`the ${word}`, `${where}, `, ''], 4],
    [[`the ${word}`, `${where} `, ''], 2],
    [[`the ${word}`, `${place.words}: `, ''], 2],
    [[`the ${word}`, '', `, ${place.words}`], 1],
    [[`the ${word}`, '', ` (${place.words})`], 0.6],
  ]);
  return spoken(text, place, before, after);
}

/** "All the lamps" mean every room; "all the lamps in the office" mean one. */
function everyOne(
  device: Device,
  spoken: (text: string, place?: Place, before?: string, after?: string) => Spoken,
  random: Random,
): Spoken {
  const many = random.pick(device.many!);
  const every = random.pick([
    `all the ${many}`,
    `all ${many}`,
    `all of the ${many}`,
    `every one of the ${many}`,
  ]);
  if (random.chance(0.3)) {
    const room = random.pick(rooms);
    const words = random.pick(room.words);
    const place = { name: room.name, words, preposition: room.preposition };
    return spoken(
      random.chance(0.5) ? `${every} ${place.preposition} the ${words}` : `all the ${words} ${many}`,
      place,
    );
  }
  const everywhere: Place = { name: 'all', words: 'house', preposition: 'in' };
  return spoken(
    random.weighted([
      [every, 6],
      [`${every} in the house`, 2],
      [`the ${many} everywhere`, 1],
      [`the ${many} in the whole house`, 1],
      [`the ${many} in every room`, 1],
      [`the ${many} in all rooms`, 1],
    ]),
    everywhere,
  );
}

export function withArticle(place: Place, random: Random): string {
  return random.weighted([
    [`the ${place.words}`, 8],
    [`my ${place.words}`, 1.5],
    [place.words, 0.8],
  ]);
}

function fits(room: Room, kind: DeviceKind, device: Device): boolean {
  if (kind === 'water') return ['garden', 'greenhouse', 'balcony', 'terrace', 'porch'].includes(room.name);
  if (kind === 'heating' || kind === 'fan') return !room.outdoors;
  if (device.name === 'gate') return room.outdoors || room.name === 'garage';
  if (device.name === 'door') return room.name !== 'garage' && !(room.outdoors && room.name !== 'balcony');
  return true;
}
