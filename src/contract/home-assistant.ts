import type { Info } from './status.ts';
import type { Topics } from './topics.ts';

/**
 * Home Assistant's device-based discovery: one retained document that describes every entity.
 * Source: Home Assistant documentation, MQTT integration, "Device discovery payload".
 */
export function discoveryOf(
  info: Pick<Info, 'device' | 'version' | 'board'>,
  topics: Topics,
  prefix: string,
): { topic: string; payload: string } {
  const unique = `slmd_${info.device}`;
  const sensor = (key: string, name: string, path: string, more: Record<string, string> = {}) => ({
    [key]: {
      p: 'sensor',
      unique_id: `${unique}_${key}`,
      name,
      stat_t: topics.telemetry,
      val_tpl: `{{ value_json.${path} }}`,
      stat_cla: 'measurement',
      ...more,
    },
  });
  const ms = { unit_of_meas: 'ms', dev_cla: 'duration' };
  const document = {
    dev: {
      ids: [unique],
      name: `slmd ${info.device}`,
      mdl: info.board.model ?? info.board.arch,
      sw: `slmd ${info.version}`,
    },
    o: { name: 'slmd', sw: info.version },
    avty_t: topics.status,
    avty_tpl: "{{ 'offline' if value_json.state == 'offline' else 'online' }}",
    qos: 1,
    cmps: {
      state: {
        p: 'sensor',
        unique_id: `${unique}_state`,
        name: 'State',
        stat_t: topics.status,
        val_tpl: '{{ value_json.state }}',
        ent_cat: 'diagnostic',
      },
      ...sensor('ttft', 'Time to first token p50', 'latency.ttft_ms.p50', ms),
      ...sensor('total', 'Time to answer p95', 'latency.total_ms.p95', ms),
      ...sensor('decode_rate', 'Decode speed', 'rates.decode_tokens_per_second.p50', {
        unit_of_meas: 'tok/s',
      }),
      ...sensor('queue', 'Queue depth', 'queue.depth'),
      ...sensor('temperature', 'SoC temperature', 'board.soc_temp_c', {
        unit_of_meas: '°C',
        dev_cla: 'temperature',
        ent_cat: 'diagnostic',
      }),
      // A notify entity is where its automations send text to; what they send is a prompt, whatever it begins with.
      prompt: {
        p: 'notify',
        unique_id: `${unique}_prompt`,
        name: 'Prompt',
        cmd_t: topics.prompt,
        cmd_tpl: '{{ {"prompt": value} | tojson }}',
      },
      ...sensor('answered', 'Prompts answered', 'counters.results.ok', { stat_cla: 'total_increasing' }),
    },
  };
  return { topic: `${prefix}/device/${unique}/config`, payload: JSON.stringify(document) };
}
