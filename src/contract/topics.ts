/** Where everything is on the broker. The grammar is clause SLMD-TOPIC of CONTRACT.md. */

/** A device's name; equal to its broker user name, so that an ACL stays two lines. */
export const devicePattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;

/** A request id: it becomes a topic level, so it has no `/`, `+`, `#` or space. */
export const idPattern = /^[A-Za-z0-9._:-]{1,128}$/;

/** One or more plain topic levels. */
export const prefixPattern = /^[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*$/;

export interface Topics {
  prompt: string;
  cancel: string;
  ack: string;
  status: string;
  info: string;
  telemetry: string;
  probe: string;
  event(id: string): string;
  token(id: string): string;
  result(id: string): string;
}

export function topicsOf(prefix: string, device: string): Topics {
  const base = `${prefix}/${device}`;
  return {
    prompt: `${base}/prompt`,
    cancel: `${base}/cancel`,
    ack: `${base}/ack`,
    status: `${base}/status`,
    info: `${base}/info`,
    telemetry: `${base}/telemetry`,
    probe: `${base}/probe`,
    event: (id) => `${base}/event/${id}`,
    token: (id) => `${base}/token/${id}`,
    result: (id) => `${base}/result/${id}`,
  };
}

/** Whether a topic name matches a topic filter (MQTT 5.0 §4.7). A `$` topic matches no leading wildcard. */
export function topicMatches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && !filter.startsWith('$')) return false;
  const wanted = filter.split('/');
  const levels = topic.split('/');
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true;
    if (levels[i] === undefined || (level !== '+' && level !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

/** Whether a text can be published to: not empty, no wildcard, no NUL, at most 65,535 bytes. */
export function isTopicName(topic: string): boolean {
  return topic.length > 0 && !/[+#\0]/.test(topic) && Buffer.byteLength(topic) <= 65_535;
}

/** Whether a text can be subscribed to: `+` is a whole level, `#` the last one (MQTT 5.0 §4.7.1). */
export function isTopicFilter(filter: string): boolean {
  const levels = filter.split('/');
  const names = levels.map((level, i) =>
    level === '+' || (level === '#' && i === levels.length - 1) ? 'x' : level,
  );
  return isTopicName(names.join('/'));
}
