// Rows that are the same on every machine: a row is a function of its index. They are those of the Rust example.

export const COLUMNS = [
  { name: "id", kind: "int64", key: true },
  { name: "name", kind: "text", nullable: false },
  { name: "email", kind: "text" },
  { name: "score", kind: "float64", nullable: false },
  { name: "active", kind: "boolean", nullable: false },
  { name: "created_at", kind: "timestamp", nullable: false },
  { name: "balance", kind: "decimal", nullable: false },
  { name: "device", kind: "uuid", nullable: false },
];
const FIRST_NAMES =
  "Ada Björn Chiara Dmitri Emeka Fatima Grace Hiroshi Ingrid João Kavya Lars Mei Noor Olga Pedro".split(" ");
const LAST_NAMES = (
  "Almeida Baker Costa Duval Eriksson Fischer García Haddad " +
  "Ivanova Jansen Kowalska Lindqvist Müller Nakamura O'Neill Petrov"
).split(" ");
/** 2020-01-01T00:00:00Z in microseconds. */
const FIRST_INSTANT = 1_577_836_800_000_000;
/** Between two people, in microseconds. */
const STEP = 61_000_250;

/** The rows at these indexes, from 0. */
export function* people(first, end) {
  for (let index = first; index < end; index += 1) yield person(index);
}

function person(index) {
  const noise = mix(BigInt(index));
  const high = hex(noise);
  const low = hex(mix(noise));
  const part = (shift, count) => Number((noise >> shift) % count);
  return [
    index + 1,
    `${FIRST_NAMES[part(0n, 16n)]} ${LAST_NAMES[part(4n, 16n)]}`,
    part(0n, 5n) === 0 ? null : `person${index}@example.com`,
    part(8n, 100_000n) / 1_000,
    part(0n, 3n) !== 0,
    FIRST_INSTANT + (index + 1) * STEP,
    `${part(20n, 10_000_000n)}.${part(44n, 10n)}${part(48n, 10n)}`,
    `${high.slice(0, 8)}-${high.slice(8, 12)}-8${high.slice(13)}-a${low.slice(1, 4)}-${low.slice(4)}`,
  ];
}

/** Spreads the bits of an index over all of the result (the finalizer of splitmix64). */
function mix(index) {
  let bits = BigInt.asUintN(64, index + 0x9e3779b97f4a7c15n);
  bits = BigInt.asUintN(64, (bits ^ (bits >> 30n)) * 0xbf58476d1ce4e5b9n);
  bits = BigInt.asUintN(64, (bits ^ (bits >> 27n)) * 0x94d049bb133111ebn);
  return bits ^ (bits >> 31n);
}

function hex(bits) {
  return bits.toString(16).padStart(16, "0");
}
