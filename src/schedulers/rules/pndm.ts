import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import { alphaFrame, type Plan, type Run, rootsOf, type Step } from "../plan.js";
import { noiseOf } from "../prediction.js";
import { noiseSchedule } from "../schedule.js";
import { refuseCustom, stepCount } from "../sigmas.js";
import { firstStep, tableTimesteps } from "../spacing.js";
import { divided, f32, linear, type Term } from "../vector.js";

/**
 * PNDM: Liu et al. 2022 (arXiv:2202.09778). A linear multistep method of order four over DDIM's transfer (eq. 11).
 * With `skip_prk_steps` (PLMS, as Stable Diffusion ships it) the first interval is done twice: N + 1 evaluations. Without,
 * three Runge-Kutta intervals of four evaluations each come first: N + 9 evaluations.
 */
export function pndm(c: Settings, run: Run): Plan {
  refuseCustom("pndm", run, "timesteps", "sigmas");
  if (c.prediction_type === "sample" || c.prediction_type === "original_sample")
    throw new DiffusionError("BAD_OPTION", "pndm cannot run a model that predicts the sample", {
      hint: "use ddim, euler or dpmpp_2m",
    });
  const { alphas } = noiseSchedule(c);
  const n = stepCount(c, run);
  const stride = Math.floor(c.num_train_timesteps / n);
  const half = Math.floor(stride / 2);
  const spaced = tableTimesteps(c, n);
  const { prk, timesteps } = evaluationTimesteps(spaced, c.skip_prk_steps, half);
  const alphaAt = (t: number) => (t >= 0 ? alphas[t]! : c.set_alpha_to_one ? 1 : alphas[0]!);

  const transfer = (sample: Float32Array, from: number, to: number, output: Float32Array): Float32Array => {
    const [now, next] = [alphas[Math.min(from, alphas.length - 1)]!, alphaAt(to)];
    const [alpha, sigma] = rootsOf(now);
    const epsilon = noiseOf(c.prediction_type, sample, output, alpha, sigma);
    const denominator = f32(
      f32(now * f32(Math.sqrt(f32(1 - next)))) + f32(Math.sqrt(f32(f32(now * f32(1 - now)) * next))),
    );
    const change = divided(linear([f32(next - now), epsilon]), denominator);
    return linear([f32(Math.sqrt(f32(next / now))), sample], [-1, change]);
  };

  const start = (): Step => {
    let done = 0;
    let outputs: Float32Array[] = [];
    let base: Float32Array | undefined;
    let sum: Float32Array | undefined;

    const rungeKutta: Step = (output, evaluation, sample) => {
      const stage = done % 4;
      const weight = stage === 0 || stage === 3 ? 1 / 6 : 1 / 3;
      sum = sum ? linear([1, sum], [weight, output]) : linear([weight, output]);
      if (stage === 0) {
        outputs.push(output);
        base = sample;
      }
      const used = stage === 3 ? sum : output;
      if (stage === 3) sum = undefined;
      return transfer(base!, prk[done - stage]!, timesteps[evaluation]! - (done % 2 ? 0 : half), used);
    };

    const multistep: Step = (output, evaluation, sample) => {
      const t = timesteps[evaluation]!;
      if (done === 1) return transfer(base!, t + stride, t, linear([0.5, output], [0.5, outputs[0]!]));
      outputs = [...outputs.slice(-3), output];
      if (done === 0) base = sample;
      return transfer(sample, t, t - stride, adamsBashforth(outputs));
    };

    return (output, evaluation, sample, noise) => {
      const next = (done < prk.length ? rungeKutta : multistep)(output, evaluation, sample, noise);
      done++;
      return next;
    };
  };

  return { ...alphaFrame(timesteps, alphas, firstStep(n, run.strength)), start };
}

/** The timesteps of the evaluations, falling; `prk` are those of the Runge-Kutta stages. */
function evaluationTimesteps(spaced: number[], skipPrk: boolean, half: number) {
  if (skipPrk) {
    const repeated = spaced[1];
    const timesteps = repeated === undefined ? spaced : [spaced[0]!, repeated, ...spaced.slice(1)];
    return { prk: [], timesteps };
  }
  if (spaced.length < 4)
    throw new DiffusionError(
      "BAD_OPTION",
      `pndm with Runge-Kutta steps needs at least 4 steps, not ${spaced.length}`,
      {
        hint: "set skip_prk_steps, as Stable Diffusion does",
      },
    );
  const prk = [0, 1, 2].flatMap((i) => {
    const [from, to] = [spaced[i]!, spaced[i + 1]!];
    return [from, to + half, to + half, to];
  });
  return { prk, timesteps: [...prk, ...spaced.slice(3)] };
}

/** The linear multistep combination of the last one to four outputs (eq. 12 of the paper). */
export function adamsBashforth(outputs: readonly Float32Array[]): Float32Array {
  const weights = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]];
  const newestFirst = outputs.slice(-4).reverse();
  const terms = newestFirst.map((values, i): Term => [weights[newestFirst.length - 1]![i]!, values]);
  return linear(...(terms as [Term, ...Term[]]));
}
