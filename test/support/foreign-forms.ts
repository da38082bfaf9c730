import type { ForeignForm } from './foreign-graph.ts';

type Forms = Record<string, Partial<ForeignForm>>;

const grouped = { attention: 'grouped', positions: false } as const;

/** Graphs whose cache grows: each run's present is longer than its past. */
export const growingForms: Forms = {
  'plain attention with positions': {},
  'plain attention that counts positions itself': { positions: false },
  'ids, mask and positions of 32 bits': { idsType: 'int32' },
  'keys and values in one tensor': { combined: true },
  'logits for as many positions as are asked for': { logitsKept: true },
  'weights in three files': { locations: ['model.onnx_data', 'model.onnx_data_1', 'model.onnx_data_2'] },
};

/** Graphs whose past and present may be one memory. */
export const sharedForms: Forms = {
  'grouped attention with lengths by the mask': grouped,
  'grouped attention with a mask of 32 bits': { ...grouped, idsType: 'int32' },
  'grouped attention with lengths as inputs': { ...grouped, lengths: 'given' },
  'grouped attention with positions': { attention: 'grouped' },
  'grouped attention with positions of 32 bits': { attention: 'grouped', idsType: 'int32' },
  'grouped attention with logits for as many positions as are asked for': { ...grouped, logitsKept: true },
};

/** Of either kind, in half precision. */
export const halfGrowingForms: Forms = {
  'a float16 cache': { cacheType: 'float16' },
  'a float16 cache in one tensor, and float16 logits': {
    cacheType: 'float16',
    combined: true,
    logitsType: 'float16',
  },
};

export const halfSharedForms: Forms = {
  'grouped attention with a float16 cache': { ...grouped, cacheType: 'float16' },
  'grouped attention with float16 logits': { ...grouped, cacheType: 'float16', logitsType: 'float16' },
};
