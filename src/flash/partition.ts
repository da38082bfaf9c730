import { FlashError } from './errors.ts';

/** Where a partition lies, in bytes. */
export interface Partition {
  offset: number;
  bytes: number;
}

const sectorBytes = 512;
const tableOffset = 446;
const entryBytes = 16;
const fatTypes = new Set([0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e]);
const gptProtective = 0xee;

/** Bytes at the start of an image that `bootPartition` reads. */
export const bootRecordBytes = sectorBytes;

/**
 * The FAT partition that a Raspberry Pi boots from: the first one in the master boot record.
 *
 * @param record the first `bootRecordBytes` of the image
 * @param imageBytes length of the image, in which every partition must lie
 * @throws FlashError `no_boot_partition`, `image_truncated`
 */
export function bootPartition(record: Buffer, imageBytes: number): Partition {
  if (record.length < sectorBytes || record.readUInt16LE(510) !== 0xaa55)
    throw new FlashError('no_boot_partition', 'it has no partition table: is it an image of a whole card?');
  const partitions = [0, 1, 2, 3].map((i) => {
    const at = tableOffset + i * entryBytes;
    return {
      type: record.readUInt8(at + 4),
      offset: record.readUInt32LE(at + 8) * sectorBytes,
      bytes: record.readUInt32LE(at + 12) * sectorBytes,
    };
  });
  if (partitions.some(({ type }) => type === gptProtective))
    throw new FlashError('no_boot_partition', 'it has a GPT: images for the Raspberry Pi have none');
  for (const { offset, bytes } of partitions)
    if (offset + bytes > imageBytes)
      throw new FlashError(
        'image_truncated',
        `it has ${imageBytes} bytes and its partitions end at ${offset + bytes}: it was not copied whole`,
      );
  const boot = partitions.find(({ type, bytes }) => fatTypes.has(type) && bytes > 0);
  if (boot === undefined) throw new FlashError('no_boot_partition', 'it has no FAT partition to boot from');
  return { offset: boot.offset, bytes: boot.bytes };
}
