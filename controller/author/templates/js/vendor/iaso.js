// What a check in JavaScript is written with. There is no clock, no randomness, no console and no network but the host's.

/** The operator's configuration: a key that is not known is an error. A thrown text is the check's `err`. */
export class Config {
  constructor(given, keys) {
    this.values = new Map(given);
    for (const key of this.values.keys()) {
      if (!keys.includes(key)) throw `unknown key: ${key}; there are ${keys.join(', ')}`;
    }
  }

  text(key, otherwise) {
    return this.values.get(key) ?? otherwise;
  }

  /** A whole number from `least` to `most`. */
  number(key, otherwise, least, most) {
    const text = this.values.get(key);
    if (text === undefined) return otherwise;
    const number = Number(text);
    if (!/^[0-9]{1,15}$/.test(text) || number < least || number > most) {
      throw `${key} must be a whole number from ${least} to ${most}`;
    }
    return number;
  }
}

/** One finding; `severity` is ok, info, warning, critical or unknown. */
export function finding(code, severity, subject, summary, remedies = [], attributes = []) {
  return { code, severity, subject, summary, remedies, attributes };
}

/** Why a capability did not answer, for a person. What is no such answer is a mistake of the plugin, and goes on. */
export function why(error) {
  const given = error?.payload;
  if (given === undefined) throw error;
  return given.val ? `${given.tag}: ${given.val}` : given.tag;
}
