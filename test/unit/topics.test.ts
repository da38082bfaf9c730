import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTopicFilter, isTopicName, topicMatches, topicsOf } from '../../src/contract/topics.ts';

test('a filter matches as MQTT 5.0 §4.7 says', () => {
  const table: [filter: string, topic: string, matches: boolean][] = [
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/ranking', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/tennis/player1/#', 'sport/tennis/player2', false],
    ['sport/#', 'sport', true],
    ['#', 'anything/at/all', true],
    ['#', '/', true],
    ['sport/tennis/+', 'sport/tennis/player1', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+', 'sport', true],
    ['+', '/finance', false],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+/tennis/#', 'sport/tennis', true],
    ['a/b', 'a/b', true],
    ['a/b', 'a/B', false],
    ['a/b', 'a/b/c', false],
    ['a/b/c', 'a/b', false],
    ['#', '$SYS/uptime', false],
    ['+/uptime', '$SYS/uptime', false],
    ['$SYS/#', '$SYS/uptime', true],
    ['$SYS/+', '$SYS/uptime', true],
    ['a/#', 'a/$SYS', true],
    ['slmd/+/response/#', 'slmd/me/response', true],
    ['slmd/+/response/#', 'slmd/kitchen/prompt', false],
  ];
  for (const [filter, topic, matches] of table)
    assert.equal(topicMatches(filter, topic), matches, `${filter} and ${topic}`);
});

test('a topic name is not empty, has no wildcard and no NUL, and at most 65,535 bytes', () => {
  for (const topic of ['a', '/', 'a//b', '$SYS', 'ü', ' ', 'x'.repeat(65_535)])
    assert.ok(isTopicName(topic), topic.slice(0, 9));
  for (const topic of ['', '+', 'a/#', 'a+', 'a\0', 'x'.repeat(65_536), 'ü'.repeat(32_768)])
    assert.ok(!isTopicName(topic), topic.slice(0, 9));
});

test('a topic name is a topic filter that matches itself alone', () => {
  assert.ok(isTopicFilter('a/b') && topicMatches('a/b', 'a/b') && !topicMatches('a/b', 'a/c'));
});

test('no two topics of a device are the same', () => {
  const { event, token, result, ...fixed } = topicsOf('slmd', 'kitchen');
  const all = [...Object.values(fixed), event('a'), token('a'), result('a')];
  assert.equal(new Set(all).size, all.length);
  for (const topic of all) assert.ok(topicMatches('slmd/kitchen/#', topic), topic);
});
