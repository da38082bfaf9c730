/** Why a schema cannot be enforced, and where. Thrown inside this folder only. */
export class SchemaRefusal extends Error {
  /** A JSON pointer that begins with `#`. */
  readonly path: string;

  constructor(path: string, reason: string) {
    super(reason);
    this.path = path;
  }
}
