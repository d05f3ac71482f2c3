/**
 * Standard normals, two from each point that `draw` gives in polar form (Box and Muller, 1958), cosine first.
 * The second is kept for the next call.
 */
export function boxMuller(draw: () => { angle: number; radius: number }): () => number {
  let kept: number | undefined;
  return () => {
    if (kept !== undefined) {
      const value = kept;
      kept = undefined;
      return value;
    }
    const { angle, radius } = draw();
    kept = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}
