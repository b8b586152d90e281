"""The captions that pocket-emoji learns: what people may ask for when they mean an emoji."""

import re

STYLES = ["3d", "flat", "noto"]
STYLE_WORDS = [
    ["3d", "3d render", "3d style", "glossy 3d"],
    ["flat", "flat design", "flat vector", "flat style"],
    ["noto", "noto style", "android style", "cartoon"],
]
BACKGROUNDS = [
    ("white", (255, 255, 255)),
    ("black", (17, 17, 17)),
    ("gray", (160, 160, 160)),
    ("red", (214, 40, 40)),
    ("orange", (247, 127, 0)),
    ("yellow", (255, 214, 10)),
    ("green", (60, 160, 75)),
    ("blue", (40, 90, 210)),
    ("purple", (120, 60, 170)),
    ("pink", (255, 155, 190)),
    ("brown", (120, 72, 40)),
    ("light blue", (150, 210, 250)),
    ("teal", (0, 140, 140)),
]
FILLERS = [""] * 7 + [
    "cute ",
    "beautiful ",
    "simple ",
    "nice ",
    "high quality ",
    "detailed ",
    "little ",
    "single ",
]
TEMPLATES = [
    "{name}",
    "{name}",
    "{name}",
    "{name}",
    "{article} {name}",
    "{article} {name}",
    "{article} {name}",
    "the {name}",
    "{name} emoji",
    "{article} {name} emoji",
    "an emoji of {article} {name}",
    "a picture of {article} {name}",
    "an image of {article} {name}",
    "a photo of {article} {name}",
    "a drawing of {article} {name}",
    "an illustration of {article} {name}",
    "an icon of {article} {name}",
    "{name} icon",
    "draw {article} {name}",
    "generate {article} {name}",
    "show me {article} {name}",
    "{article} {name}, high quality",
    "{name}, sharp, detailed",
    "a painting of {article} {name}",
    "{name} on a white background",
    "{article} {name}, white background",
]
BACKGROUND_TEMPLATES = [
    "{name} on a {colour} background",
    "{article} {name} on a {colour} background",
    "{name}, {colour} background",
    "{colour} background, {name}",
    "{name} with {colour} background",
    "{article} {name} in front of a {colour} wall",
    "{article} {name} on {colour}",
]


def clean(text):
    """Lower the case, straighten quotes and join white space."""
    text = text.lower().replace("_", " ").replace("\u201c", '"').replace("\u201d", '"').replace("\u2019", "'")
    return re.sub(r"\s+", " ", text).strip()


def article(name):
    """Give the indefinite article of a name."""
    return "an" if name[:1] in "aeiou" else "a"


def choose_name(names, keywords, generator):
    """Draw what a caption calls the emoji: its label, another name, or keywords."""
    draw = generator.random()
    if draw < 0.52 or (not keywords and len(names) == 1):
        return names[0]
    if draw < 0.76 and len(names) > 1:
        return generator.choice(names[1:])
    if not keywords:
        return names[0]
    if draw < 0.90:
        count = min(len(keywords), generator.randint(1, 3))
        return names[0] + ", " + ", ".join(generator.sample(keywords, count))
    joint = ", " if generator.random() < 0.5 else " "
    return joint.join(generator.sample(keywords, min(len(keywords), generator.randint(1, 3))))


def make_captions(emoji, style, generator, count):
    """Give ``count`` pairs of caption and index of its background colour."""
    captions = []
    for _ in range(count):
        name = choose_name(emoji["names"], emoji["keywords"], generator)
        name = generator.choice(FILLERS) + name
        background = 0
        if generator.random() < 0.25:
            background = generator.randrange(1, len(BACKGROUNDS))
            colour = BACKGROUNDS[background][0]
            spellings = {"gray": ["gray", "grey"], "light blue": ["light blue", "sky blue"]}
            colour = generator.choice(spellings.get(colour, [colour]))
            template = generator.choice(BACKGROUND_TEMPLATES)
            caption = template.format(name=name, article=article(name), colour=colour)
        else:
            caption = generator.choice(TEMPLATES).format(name=name, article=article(name))
        if generator.random() < 0.45:
            word = generator.choice(STYLE_WORDS[style])
            suffix = word if "style" in word else word + " style"
            forms = [f"{caption}, {word}", f"{caption} {word}", f"{word} {caption}", f"{word}, {caption}"]
            caption = generator.choice([*forms, f"{caption}, in {suffix}"])
        captions.append((caption[:200], background))
    return captions
