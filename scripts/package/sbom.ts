import type { LockedPackage } from './runtime-tree.ts';

export interface Contents {
  version: string;
  /** As 2026-11-25T08:00:00Z. */
  timestamp: string;
  packages: readonly LockedPackage[];
  model: { id: string; sha256: string; license: string };
}

/** What the package is made of, as CycloneDX 1.6 JSON: everything that is inside, bundled or not. */
export function sbomOf({ version, timestamp, packages, model }: Contents): string {
  const components = packages.map(({ name, version, license, integrity }) => ({
    type: 'library',
    'bom-ref': purlOf(name, version),
    name,
    version,
    licenses: [{ expression: license }],
    purl: purlOf(name, version),
    ...(integrity === '' ? {} : { hashes: [hashOf(integrity)] }),
  }));
  const shipped = {
    type: 'machine-learning-model',
    'bom-ref': `model:${model.id}`,
    name: model.id,
    licenses: [{ expression: model.license }],
    hashes: [{ alg: 'SHA-256', content: model.sha256 }],
  };
  const bom = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp,
      component: {
        type: 'application',
        'bom-ref': 'slmd',
        name: 'slmd',
        version,
        licenses: [{ expression: 'Apache-2.0' }],
      },
    },
    components: [...components, shipped],
    dependencies: [
      { ref: 'slmd', dependsOn: [...components, shipped].map((component) => component['bom-ref']) },
    ],
  };
  return `${JSON.stringify(bom, null, 2)}\n`;
}

/** Source: package-url specification, type npm. */
function purlOf(name: string, version: string): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

function hashOf(integrity: string): { alg: string; content: string } {
  const [algorithm = '', base64 = ''] = integrity.split('-', 2);
  const alg = { sha512: 'SHA-512', sha256: 'SHA-256', sha1: 'SHA-1' }[algorithm];
  if (alg === undefined) throw new Error(`the lock file has a hash of an unknown kind: ${algorithm}`);
  return { alg, content: Buffer.from(base64, 'base64').toString('hex') };
}
