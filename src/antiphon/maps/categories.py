"""Kinds of places as people ask for them, and the tags of OpenStreetMap that mean them (its wiki, "Map features")."""

from __future__ import annotations

import re
from typing import NamedTuple

from antiphon.words import stem

_WORDS = """
amenity=cafe: cafe café coffee coffeehouse | amenity=restaurant: restaurant dinner | amenity=bar: bar | amenity=pub: pub
amenity=fast_food: takeaway snack | amenity=ice_cream: gelato | amenity=pharmacy: pharmacy chemist drugstore apotheke
amenity=hospital: hospital krankenhaus | amenity=doctors: doctor | amenity=dentist: dentist | amenity=school: school
amenity=university: university | amenity=library: library bibliothek | amenity=bank: bank | amenity=atm: atm cashpoint
amenity=post_office: post | amenity=police: police | amenity=fuel: fuel petrol | amenity=charging_station: charger
amenity=parking: parking carpark | amenity=bicycle_rental: bikes | amenity=cinema: cinema kino
amenity=theatre: theatre theater | amenity=fuel: gas | railway=station: train railway
amenity=place_of_worship: church mosque synagogue temple | amenity=toilets: toilet restroom | amenity=marketplace: market
amenity=townhall: townhall | amenity=drinking_water: fountain | amenity=kindergarten: kindergarten
shop=supermarket: supermarket grocery groceries | shop=bakery: bakery bäckerei boulangerie | shop=books: bookshop bookstore
shop=bicycle: bikeshop | shop=clothes: clothes | shop=hairdresser: hairdresser barber | shop=florist: florist flowers
tourism=hotel: hotel | tourism=hostel: hostel | tourism=museum: museum musée | tourism=gallery: gallery
tourism=attraction: attraction sight sightseeing | tourism=viewpoint: viewpoint | tourism=camp_site: campsite camping
tourism=zoo: zoo | leisure=park: park | leisure=playground: playground | leisure=swimming_pool: pool
leisure=fitness_centre: gym fitness | leisure=garden: garden | railway=station: station bahnhof | aeroway=aerodrome: airport
natural=beach: beach | historic=castle: castle | historic=monument: monument
"""
# "cafes near the castle", "museums in Lindau": what is asked for, and where.
_NEAR = re.compile(
    r"^(?P<what>.+?)\s+(?:near|nearby|close to|next to|around|by|at|in|bei|in der nähe von|à|près de)\s+(?P<where>.+)$",
    re.IGNORECASE,
)
_HERE = ("me", "here", "my location", "us", "mir", "hier")
_IDLE = frozenset(["the", "a", "an", "best", "good", "nice", "cheap", "some", "any", "open", "nearest", "nearby", "me"])
# "coffee shop" and "train station" are known by their first word.
_SECOND = frozenset(["shop", "shops", "store", "office", "station", "stations", "machine", "court", "place", "places"])


class Category(NamedTuple):
    """A tag of OpenStreetMap."""

    key: str
    value: str


def _table() -> dict[str, Category]:
    table = {}
    for row in re.split(r"[|\n]", _WORDS.strip()):
        tag, _, words = row.strip().partition(":")
        key, _, value = tag.partition("=")
        for word in words.split():
            table[stem(word)] = Category(key, value)
    return table


_CATEGORIES = _table()


def category(query: str) -> Category | None:
    """The kind of place that a query asks for, if it asks for no more than a kind: `best cafes nearby`."""
    words = [word for word in re.findall(r"\w+", query.lower()) if word not in _IDLE]
    if len(words) == 2 and words[1] in _SECOND:
        words.pop()
    return _CATEGORIES.get(stem(words[0])) if len(words) == 1 else None


def split(query: str) -> tuple[str, str]:
    """What is asked for, and near what; the second is empty where the query does not say, or says `me` or `here`."""
    found = _NEAR.match(query.strip())
    if found is None:
        return query.strip(), ""
    where = found["where"].strip()
    return found["what"].strip(), "" if where.lower() in _HERE else where
