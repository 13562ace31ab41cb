"""Word lists for `words`: everyday things, what goes before a noun, and what joins two."""

from __future__ import annotations


def _listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.replace("\n", " ").split(","))


EVERYDAY = _listed("""
    person, people, man, woman, boy, girl, child, baby, face, hand, foot, hair, eye, crowd, family, player, driver,
    animal, pet, puppy, kitten, bird, fish, insect, horse, cow, sheep, goat, pig, chicken, duck, donkey, deer,
    mouse, rabbit, giraffe, monkey, bear, lion, tiger, elephant, snake, frog, turtle, spider, butterfly, bee, dog,
    cat, plant, tree, flower, grass, leaf, bush, rose, sunflower, forest, branch, wood, potted plant, houseplant,
    palm tree, sky, cloud, sun, moon, star, rain, snow, ice, fire, smoke, water, sea, ocean, river, lake, beach,
    sand, island, mountain, hill, rock, stone, field, meadow, desert, earth, ground, mud, garden, park, playground,
    waterfall, street, road, path, pavement, sidewalk, crossing, square, bridge, tunnel, railway, track, station,
    airport, harbor, house, building, city, town, village, skyscraper, tower, church, castle, shop, store, market,
    restaurant, cafe, bar, school, office, hospital, hotel, factory, farm, barn, garage, kitchen, bathroom, bedroom,
    living room, room, hall, wall, roof, ceiling, floor, door, window, stairs, fence, gate, balcony, chimney, tile,
    brick, carpet, rug, curtain, car, bus, truck, van, taxi, train, tram, bicycle, bike, motorcycle, scooter, boat,
    ship, airplane, plane, aeroplane, helicopter, rocket, tractor, ambulance, police car, fire engine, wheel, tire,
    traffic light, traffic sign, sign, street light, lamp post, bench, fountain, statue, flag, banner, balloon,
    umbrella, kite, table, dining table, coffee table, chair, armchair, sofa, couch, bed, desk, shelf, bookshelf,
    cupboard, cabinet, drawer, wardrobe, mirror, lamp, light, candle, clock, picture, painting, poster, frame, vase,
    basket, box, bin, trash can, bag, handbag, backpack, suitcase, wallet, pillow, cushion, blanket, towel, toilet,
    sink, bathtub, shower, oven, stove, fridge, refrigerator, microwave, toaster, kettle, dishwasher, washing
    machine, iron, vacuum cleaner, plate, bowl, cup, mug, glass, wine glass, bottle, jar, can, fork, knife, spoon,
    chopsticks, pan, pot, tray, napkin, food, meal, breakfast, dessert, bread, toast, butter, cheese, egg, meat,
    steak, chicken wings, sausage, bacon, ham, rice, pasta, noodles, soup, salad, sandwich, burger, hot dog, pizza,
    french fries, sushi, taco, cake, cookie, donut, chocolate, candy, ice cream, fruit, apple, orange, banana,
    grapes, pear, peach, cherry, melon, watermelon, vegetable, potato, tomato, carrot, onion, garlic, pepper, corn,
    beans, peas, salt, sugar, honey, coffee, espresso, tea, milk, juice, water bottle, beer, wine, cocktail, drink,
    shirt, t-shirt, sweater, jacket, coat, suit, dress, skirt, trousers, jeans, shorts, sock, shoe, boot, sandal,
    hat, cap, helmet, scarf, glove, belt, tie, glasses, sunglasses, watch, ring, necklace, earring, uniform, phone,
    cell phone, smartphone, telephone, computer, laptop, keyboard, computer mouse, screen, monitor, tv, television,
    remote control, camera, printer, speaker, headphones, microphone, radio, book, magazine, newspaper, letter,
    paper, envelope, pen, pencil, marker, ruler, scissors, tape, key, coin, money, credit card, map, globe, tool,
    hammer, screwdriver, saw, drill, wrench, nail, screw, rope, chain, ladder, bucket, broom, brush, toothbrush,
    soap, razor, comb, hair dryer, medicine, bandage, toy, doll, teddy bear, ball, football, basketball, tennis
    ball, sports ball, frisbee, skateboard, surfboard, skis, snowboard, sled, tennis racket, baseball bat, baseball
    glove, golf club, guitar, piano, drum, violin, trumpet, flute, game, chess, dice, playing card, gift, christmas
    tree, circle, triangle, rectangle, cross, heart, arrow, letter a, number, text, logo, shape, pattern, shadow,
    reflection
""")
COLOURS = _listed("""
    red, orange, yellow, green, blue, purple, violet, pink, brown, black, white, grey, gray, beige, gold, golden,
    silver, turquoise, dark red, dark green, dark blue, light blue, light green, pale, bright, dark, colorful,
    striped, spotted
""")
MATERIALS = _listed("""
    wooden, metal, iron, steel, copper, brass, plastic, glass, paper, cardboard, leather, woolen, cotton, silk,
    rubber, stone, marble, brick, concrete, clay, ceramic, porcelain, woven, knitted, stuffed, chocolate, wax, ice
""")
ADJECTIVES = _listed("""
    big, large, huge, small, little, tiny, tall, short, long, wide, narrow, thick, thin, round, square, flat, old,
    new, young, modern, ancient, vintage, antique, broken, cracked, rusty, dirty, clean, wet, dry, frozen, hot,
    cold, fresh, rotten, ripe, raw, cooked, fried, sliced, open, closed, empty, full, half-eaten, parked, moving,
    running, standing, sitting, sleeping, flying, swimming, jumping, wild, tame, furry, fluffy, smooth, rough,
    shiny, soft, hard, heavy, light, cute, ugly, beautiful, funny, scary, happy, sad, angry, famous, rare, common,
    expensive, cheap, electric, toy, miniature, giant, baby, adult, male, female, domestic, tropical, wooden toy,
    homemade, traditional
""")
JOINED = _listed("""
    {} and {}, {} with {}, {} on {}, {} in {}, {} under {}, {} next to {}, {} in front of {}, {} behind {}, {} near
    {}, {} and a {}, {} on a {}, {} with a {}, {} in a {}, {} beside the {}, {} holding {}, {} of {}, {} for {}, {}
    {}
""")
