// Words for what is out of scope.

const words = (text: string): string[] => text.split(',').map((word) => word.trim());

/** Things that sound like a device, which this home does not control. */
export const things = words(
  'rocket, spaceship, universe, sun, moon, stars, car, car engine, engine, oven, toaster, microwave, fridge, freezer, stove, blender, phone, laptop, computer, printer, router, wifi, internet, guitar, piano, violin, dragon, robot, elevator, escalator, traffic light, street, airport, train, plane, bicycle, motorcycle, boat, submarine, volcano, ocean, river, bank, bank account, safe, vault, treasure chest, box, bottle, jar, drawer, cupboard, wardrobe, closet, bathtub, shower, toilet, sink, bed, sofa, couch, chair, table, carpet, mirror, book, letter, envelope, bag, suitcase, shop, museum, restaurant, school, factory, power plant, satellite, telescope, microscope, drill, saw, hammer, lawn mower, swimming pool, jacuzzi, sauna, fireplace, candle, torch, cat, dog, goldfish, elephant, tractor, truck, bus, tram, bridge, castle, tent, umbrella, hat, shoe, jacket, wine, beer, sandwich, soup, game console, video game, vacuum cleaner, hair dryer, sewing machine, mixer, doorbell, mailbox, flag, drum, trumpet, time machine, teleporter, death star, president, weather, rain, wind, news, election',
);

export const topics = words(
  'football, chess, tennis, cooking, baking, pasta, pizza, pancakes, sushi, bread, cheese, coffee, tea, wine, chocolate, apples, bananas, tomatoes, cats, dogs, horses, elephants, whales, birds, spiders, bees, dinosaurs, dragons, unicorns, robots, computers, telephones, electricity, magnetism, gravity, light bulbs, photosynthesis, evolution, quantum physics, black holes, galaxies, planets, the moon, the sun, mars, volcanoes, earthquakes, rivers, oceans, mountains, deserts, forests, trees, flowers, gardening, music, jazz, opera, rock music, the piano, the guitar, painting, sculpture, poetry, novels, history, philosophy, religion, politics, democracy, economics, money, inflation, the stock market, taxes, insurance, law, medicine, vaccines, the heart, the brain, sleep, dreams, love, friendship, happiness, war, peace, pirates, knights, castles, vikings, romans, pyramids, trains, ships, aeroplanes, cars, bicycles, rockets, satellites, the internet, cryptography, mathematics, algebra, geometry, statistics, prime numbers, languages, grammar, english, french, school, homework, university, jobs, interviews, travelling, camping, hiking, swimming, skiing, running, yoga, meditation, diets, vegetables, nutrition, films, theatre, television series, comics, video games, fashion, shoes, hats, furniture, architecture, bridges, the weather, climate change, recycling, solar panels, wind turbines, batteries, heat pumps, thermostats, curtains, lamps, locks, keys',
);

export const names = words(
  'paris, london, berlin, rome, madrid, tokyo, new york, vienna, prague, oslo, dublin, sydney, cairo, france, germany, italy, spain, japan, brazil, canada, india, china, mexico, norway, poland, kenya, anna, peter, maria, john, grandma, mum, dad, my boss, my sister, my wife, doctor smith, napoleon, cleopatra, mozart, beethoven, einstein, newton, shakespeare, picasso, the queen, the station, the airport, the beach, the supermarket',
);

export const actions = words(
  'dance, sleep, eat something, go home, go for a walk, drink coffee, learn french, play chess, read a book, watch a film, buy a car, cook dinner, take a break, stop talking, help me, be quiet, listen to me, go to the beach, visit my mother, paint a picture, run away, win the lottery, fly to the moon, change my life, do my homework, wash the car, write a novel, call the doctor, talk to me, tell the truth, make a plan, think about it, try again, wait for me, come here, calm down, hurry up, sit down, wake up early, lose weight, move to another city, turn around, turn over a new leaf, open my heart, close the deal, set a record, set a good example, light a candle, lock horns, water down the argument, dim my hopes, warm up before running, cool off in the pool',
);

export const adjectives = words(
  'happy, sad, tired, funny, interesting, boring, beautiful, strange, difficult, easy, bright, dark, warm, cold, hot, quick, slow, loud, quiet, clever, silly, nice, kind, angry, hungry, thirsty, lazy, busy, brave, shy, lucky, proud, curious, calm, wild, gentle, honest, rich, poor, healthy',
);
