// The closed world the model knows: rooms, devices, colours and scenes, and the words people use for them.

export interface Room {
  name: string;
  words: string[];
  preposition: 'in' | 'on';
  outdoors: boolean;
}

const indoors = (name: string, ...words: string[]): Room => ({
  name,
  words,
  preposition: 'in',
  outdoors: false,
});
const outdoors = (name: string, preposition: 'in' | 'on', ...words: string[]): Room => ({
  name,
  words,
  preposition,
  outdoors: true,
});

export const rooms: Room[] = [
  indoors('living_room', 'living room', 'living room', 'lounge', 'sitting room'),
  indoors('kitchen', 'kitchen'),
  indoors('bedroom', 'bedroom'),
  indoors('bathroom', 'bathroom'),
  indoors('hallway', 'hallway', 'hall', 'corridor'),
  indoors('office', 'office', 'study'),
  indoors('garage', 'garage'),
  indoors('basement', 'basement', 'cellar'),
  indoors('attic', 'attic', 'loft'),
  indoors('dining_room', 'dining room'),
  indoors('kids_room', 'kids room', "kids' room", "children's room"),
  indoors('guest_room', 'guest room', 'spare room'),
  indoors('laundry_room', 'laundry room', 'utility room'),
  indoors('workshop', 'workshop'),
  indoors('shed', 'shed'),
  indoors('greenhouse', 'greenhouse'),
  outdoors('garden', 'in', 'garden', 'backyard', 'yard'),
  outdoors('porch', 'on', 'porch'),
  outdoors('balcony', 'on', 'balcony'),
  outdoors('terrace', 'on', 'terrace', 'patio'),
];

export type DeviceKind =
  | 'light'
  | 'appliance'
  | 'fan'
  | 'heating'
  | 'cover'
  | 'door'
  | 'lock'
  | 'valve'
  | 'water';

export interface Device {
  name: string;
  words: string[];
  /** Words that stand after "all the"; absent where that is not said. */
  many?: string[];
}

const device = (name: string, words: string, many?: string): Device => ({
  name,
  words: words.split('|'),
  ...(many ? { many: many.split('|') } : {}),
});

export const devices: Record<DeviceKind, Device[]> = {
  light: [
    device('light', 'light|lights|lights', 'lights'),
    device('lamp', 'lamp|lamp|lamps', 'lamps'),
    device('ceiling_light', 'ceiling light|ceiling lights|overhead light', 'ceiling lights'),
    device('desk_lamp', 'desk lamp', 'desk lamps'),
    device('floor_lamp', 'floor lamp|standing lamp'),
    device('bedside_lamp', 'bedside lamp|bedside light'),
    device('night_light', 'night light|nightlight'),
    device('led_strip', 'led strip|led strips|light strip'),
    device('spotlight', 'spotlight|spotlights', 'spotlights'),
    device('chandelier', 'chandelier'),
    device('fairy_lights', 'fairy lights|string lights'),
  ],
  appliance: [
    device('plug', 'plug|smart plug|socket|outlet', 'plugs|sockets'),
    device('tv', 'tv|television|telly', 'tvs'),
    device('speaker', 'speaker|speakers', 'speakers'),
    device('radio', 'radio'),
    device('coffee_machine', 'coffee machine|coffee maker'),
    device('kettle', 'kettle'),
    device('washing_machine', 'washing machine|washer'),
    device('dishwasher', 'dishwasher'),
    device('humidifier', 'humidifier'),
    device('dehumidifier', 'dehumidifier'),
    device('air_purifier', 'air purifier|air cleaner'),
    device('pump', 'pump|water pump'),
    device('sprinkler', 'sprinkler|sprinklers', 'sprinklers'),
    device('boiler', 'boiler|water heater'),
    device('heater', 'heater|space heater', 'heaters'),
    device('camera', 'camera', 'cameras'),
    device('alarm', 'alarm|alarm system'),
  ],
  fan: [
    device('fan', 'fan|fans', 'fans'),
    device('ceiling_fan', 'ceiling fan', 'ceiling fans'),
    device('extractor_fan', 'extractor fan|exhaust fan|extractor'),
  ],
  heating: [
    device('thermostat', 'thermostat', 'thermostats'),
    device('heating', 'heating'),
    device('radiator', 'radiator|radiators', 'radiators'),
    device('air_conditioner', 'air conditioner|air conditioning|ac|aircon'),
  ],
  cover: [
    device('blinds', 'blinds|blind', 'blinds'),
    device('curtains', 'curtains|curtain|drapes', 'curtains'),
    device('shutters', 'shutters|shutter|roller shutters', 'shutters'),
    device('awning', 'awning'),
    device('skylight', 'skylight'),
  ],
  door: [
    device('window', 'window|windows', 'windows'),
    device('garage_door', 'garage door'),
    device('gate', 'gate|driveway gate'),
  ],
  lock: [
    device('door', 'door', 'doors'),
    device('front_door', 'front door'),
    device('back_door', 'back door'),
    device('side_door', 'side door'),
    device('gate', 'gate|driveway gate'),
    device('garage_door', 'garage door'),
  ],
  valve: [
    device('valve', 'valve|water valve', 'valves'),
    device('main_valve', 'main valve|main water valve'),
    device('gas_valve', 'gas valve'),
    device('irrigation_valve', 'irrigation valve'),
  ],
  water: [
    device('lawn', 'lawn|grass'),
    device('flower_bed', 'flower bed|flower beds|flowers'),
    device('vegetable_patch', 'vegetable patch|vegetables|veggies'),
    device('roses', 'roses'),
    device('tomatoes', 'tomatoes'),
    device('hedge', 'hedge|hedges'),
    device('herbs', 'herbs|herb bed'),
    device('plants', 'plants|potted plants'),
  ],
};

/** Devices that are said without a room, or that would be confused with another device by one. */
export const roomless = new Set([
  'front_door',
  'back_door',
  'side_door',
  'garage_door',
  'main_valve',
  'gas_valve',
  'irrigation_valve',
  'roses',
  'hedge',
]);

export const colors: [word: string, name: string][] = [
  ['red', 'red'],
  ['green', 'green'],
  ['blue', 'blue'],
  ['yellow', 'yellow'],
  ['orange', 'orange'],
  ['purple', 'purple'],
  ['violet', 'purple'],
  ['pink', 'pink'],
  ['white', 'white'],
  ['warm white', 'warm_white'],
  ['cool white', 'cool_white'],
  ['cold white', 'cool_white'],
  ['turquoise', 'turquoise'],
  ['cyan', 'turquoise'],
];

export const scenes: [word: string, name: string][] = [
  ['movie', 'movie'],
  ['film', 'movie'],
  ['cinema', 'movie'],
  ['dinner', 'dinner'],
  ['party', 'party'],
  ['romantic', 'romantic'],
  ['reading', 'reading'],
  ['morning', 'morning'],
  ['wake up', 'morning'],
  ['night', 'night'],
  ['bedtime', 'night'],
  ['sleep', 'night'],
  ['good night', 'night'],
  ['away', 'away'],
  ['leaving', 'away'],
  ['vacation', 'vacation'],
  ['holiday', 'vacation'],
  ['relax', 'relax'],
  ['cozy', 'relax'],
  ['chill', 'relax'],
  ['work', 'work'],
  ['focus', 'work'],
  ['cleaning', 'cleaning'],
  ['gaming', 'gaming'],
];
