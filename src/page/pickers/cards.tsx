import type { Named } from "../server.js";

/** Names to press, each with the picture that lies beside its file. */
export function Cards({
  all,
  pressed,
  disabled = false,
  titleOf = (name) => name,
  onPress,
}: {
  readonly all: readonly Named[];
  /** Whether one is in use; absent: a press only adds. */
  readonly pressed?: (name: string) => boolean;
  readonly disabled?: boolean;
  readonly titleOf?: (name: string) => string;
  readonly onPress: (name: string) => void;
}) {
  return (
    <ul class="cards">
      {all.map(({ name, preview }) => (
        <li key={name}>
          <button
            type="button"
            class="thumbnail"
            aria-pressed={pressed?.(name)}
            disabled={disabled}
            title={titleOf(name)}
            onClick={() => onPress(name)}
          >
            {preview ? <img src={preview} alt="" loading="lazy" /> : <span class="no-picture" />}
            <span class="caption">{name}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}
