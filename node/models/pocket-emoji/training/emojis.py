"""Which emojis pocket-emoji learns, what each is called, and how often it is shown."""

import json
import re

from artwork import PACKAGES, normal_code
from captions import clean

PEOPLE = ("1f468", "1f469", "1f9d1")
RELATIVES = (*PEOPLE, "1f466", "1f467", "1f9d2", "2764", "1f91d")


def is_kept(entry):
    """Keep one entry a concept: no skin tones, country flags, families, nor gendered twins of a neutral emoji."""
    code = normal_code(entry["hexcode"])
    label = entry["label"]
    if entry.get("group") is None or label.startswith("regional indicator"):
        return False
    is_country_flag = entry["group"] == 9 and "200d" not in code and "-" in code
    if is_country_flag or code.startswith("1f3f4-e00"):
        return False
    parts = code.split("-200d-")
    if len(parts) == 1:
        return True
    is_gendered_twin = parts[-1] in ("2640", "2642") and not label.startswith(("men with", "women with"))
    is_facing_right = "27a1" in parts
    is_family = parts[0] in PEOPLE and any(part in RELATIVES for part in parts[1:])
    return not (is_gendered_twin or is_facing_right or is_family)


def read_emojis(npm):
    """Give the emojis to learn, each with names, keywords and the weight with which it is drawn."""
    data = npm / PACKAGES["names"] / "en"
    entries = json.loads((data / "data.json").read_text())
    sources = ("emojibase", "github", "joypixels", "iamcal")
    shortcodes = [json.loads((data / "shortcodes" / f"{source}.json").read_text()) for source in sources]
    library = json.loads((npm / PACKAGES["keywords"] / "dist" / "emoji-en-US.json").read_text())
    emojis = []
    for entry in sorted(entries, key=lambda entry: entry.get("order", 0)):
        if not is_kept(entry):
            continue
        label = clean(entry["label"])
        names = [label]
        if label.endswith(" face") and entry["group"] == 3:
            names.append(label.removesuffix(" face"))
        for source in shortcodes:
            found = source.get(entry["hexcode"], [])
            for name in [found] if isinstance(found, str) else found:
                name = clean(name.replace("-", " "))
                if not re.search(r"[\d+]", name) and len(name) > 2 and name not in names:
                    names.append(name)
        keywords = [clean(word) for word in [*entry.get("tags", []), *library.get(entry["emoji"], [])]]
        keywords = [word for word in dict.fromkeys(keywords) if 2 < len(word) < 24 and word not in names]
        emojis.append(
            {
                "id": len(emojis),
                "hex": normal_code(entry["hexcode"]),
                "emoji": entry["emoji"],
                "label": label,
                "names": names[:6],
                "keywords": keywords[:14],
                "weight": draw_weight(normal_code(entry["hexcode"]), label, entry["group"]),
                "group": entry["group"],
            }
        )
    return emojis


def draw_weight(code, label, group):
    """Draw gendered professions, symbols and clock faces less often: they are many and look alike."""
    if group == 8 or "o'clock" in label or label.endswith("-thirty"):
        return 0.5
    if code.split("-")[0] in PEOPLE[:2] and "200d" in code:
        return 0.4
    return 1.0
