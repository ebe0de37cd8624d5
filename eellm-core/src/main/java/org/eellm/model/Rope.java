package org.eellm.model;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ConfigException;
import org.eellm.config.ModelConfig.Positions;
import org.eellm.config.RopeScaling;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.HeadRotation;

/**
 * Rotary position embedding in Hugging Face's convention: elements j and j + D/2 of a head are a
 * pair rotated by {@code position * frequency_j}.
 */
public final class Rope implements AutoCloseable {
  private static final int MAX_ANGLES = Integer.MAX_VALUE - 8;

  private final RetainedTensors retained = new RetainedTensors();
  private final Tensor cos; // [positions, D/2]
  private final Tensor sin;
  private final Tensor wideCos; // [positions, D]: cos, cos
  private final Tensor wideSin; // [positions, D]: -sin, sin

  /** Rotations of positions, [s, D/2] each. */
  record Angles(Tensor cos, Tensor sin) {

    /** These angles, with the result of the rotation multiplied by {@code factor}. */
    Angles times(double factor) {
      return new Angles(cos.mul(new Scalar(factor)), sin.mul(new Scalar(factor)));
    }

    /** Those of this rank's part of a sequence that has these angles. */
    Angles local(ContextParallel ring) {
      return new Angles(ring.local(cos, 1), ring.local(sin, 1));
    }

    /** These angles, owned by {@code retained}. */
    Angles retain(RetainedTensors retained) {
      return new Angles(retained.retain(cos), retained.retain(sin));
    }

    Angles inverse() {
      return new Angles(cos, sin.neg());
    }
  }

  /** Which way heads are rotated: forward, or back, as gradients are. */
  enum Rotation {
    FORWARD,
    INVERSE;

    Angles of(Angles angles) {
      return this == FORWARD ? angles : angles.inverse();
    }
  }

  Rope(Positions positions, ScalarType type, Device device) {
    int half = positions.headDim() / 2;
    long angles = (long) positions.count() * positions.headDim();
    if (angles > MAX_ANGLES) {
      throw new ConfigException(
          "model.max_positions: %d positions of heads of %d are more angles than fit a table; use %d or fewer"
              .formatted(positions.count(), positions.headDim(), MAX_ANGLES / positions.headDim()));
    }
    float[] cosines = new float[(int) angles];
    float[] sines = new float[cosines.length];
    double[] frequencies = frequencies(positions);
    double[] factors = new double[half]; // pairs that do not rotate stay as they are
    Arrays.fill(factors, 1);
    Arrays.fill(factors, 0, positions.rotaryDim() / 2, positions.ropeScaling().attentionFactor());
    for (int position = 0; position < positions.count(); position++) {
      for (int j = 0; j < half; j++) {
        double angle = position * frequencies[j];
        int first = position * positions.headDim() + j;
        cosines[first] = (float) (factors[j] * Math.cos(angle));
        cosines[first + half] = cosines[first];
        sines[first] = (float) (factors[j] * -Math.sin(angle));
        sines[first + half] = -sines[first];
      }
    }
    try (Scope scope = Scope.open()) {
      long[] shape = {positions.count(), positions.headDim()};
      wideCos = retained.retain(Tensors.ofFloats(cosines, device, shape).to(type));
      wideSin = retained.retain(Tensors.ofFloats(sines, device, shape).to(type));
      cos = retained.retain(wideCos.narrow(1, half, half).contiguous());
      sin = retained.retain(wideSin.narrow(1, half, half).contiguous());
    }
  }

  /**
   * Radians per position of each pair of a head, with the model's scaling; 0 for the pairs beyond
   * the model's rotary fraction.
   */
  public static double[] frequencies(Positions positions) {
    int rotated = positions.rotaryDim() / 2;
    double[] frequencies = new double[positions.headDim() / 2];
    for (int j = 0; j < rotated; j++) {
      double frequency = Math.pow(positions.ropeTheta(), -(double) j / rotated);
      frequencies[j] =
          switch (positions.ropeScaling()) {
            case RopeScaling.None none -> frequency;
            case RopeScaling.Linear linear -> frequency / linear.factor();
            case RopeScaling.Llama3 llama -> llama3(frequency, llama);
            case RopeScaling.Yarn yarn -> yarn(frequency, j, positions, yarn);
            case RopeScaling.LongRope scaled -> frequency / divisors(positions, scaled).get(j);
          };
    }
    return frequencies;
  }

  private static List<Double> divisors(Positions positions, RopeScaling.LongRope scaling) {
    return positions.count() > scaling.originalMaxPositions()
        ? scaling.longFactors()
        : scaling.shortFactors();
  }

  private static double yarn(
      double frequency, int pair, Positions positions, RopeScaling.Yarn scaling) {
    double first = pairThatTurns(scaling.betaFast(), positions, scaling);
    double last = pairThatTurns(scaling.betaSlow(), positions, scaling);
    double low = Math.max(scaling.truncate() ? Math.floor(first) : first, 0);
    double high = Math.min(scaling.truncate() ? Math.ceil(last) : last, positions.rotaryDim() - 1);
    double scaled = Math.clamp((pair - low) / (high == low ? 1e-3 : high - low), 0, 1);
    return frequency * (scaled / scaling.factor() + 1 - scaled);
  }

  /** The pair, as a real number, that turns so many times in the original context. */
  private static double pairThatTurns(double times, Positions positions, RopeScaling.Yarn scaling) {
    return positions.rotaryDim()
        * Math.log(scaling.originalMaxPositions() / (times * 2 * Math.PI))
        / (2 * Math.log(positions.ropeTheta()));
  }

  private static double llama3(double frequency, RopeScaling.Llama3 scaling) {
    double wavelength = 2 * Math.PI / frequency;
    double lowWavelength = scaling.originalMaxPositions() / scaling.lowFreqFactor();
    double highWavelength = scaling.originalMaxPositions() / scaling.highFreqFactor();
    if (wavelength < highWavelength) {
      return frequency;
    }
    if (wavelength > lowWavelength) {
      return frequency / scaling.factor();
    }
    double smooth =
        (scaling.originalMaxPositions() / wavelength - scaling.lowFreqFactor())
            / (scaling.highFreqFactor() - scaling.lowFreqFactor());
    return (1 - smooth) * frequency / scaling.factor() + smooth * frequency;
  }

  Angles first(long count) {
    return new Angles(cos.narrow(0, 0, count), sin.narrow(0, 0, count));
  }

  /**
   * Angles of {@code positions}, int64 [n], over whole heads, [n, D] each: x is rotated to {@code x
   * cos + roll(x) sin}, where roll exchanges the halves of a head.
   */
  Angles wide(Tensor positions) {
    return new Angles(wideCos.index_select(0, positions), wideSin.index_select(0, positions));
  }

  /**
   * Writes {@code x}, [..., s, D], rotated into {@code out} of the same shape; both may be strided.
   */
  static void rotate(Tensor x, Angles angles, Tensor out) {
    if (HeadRotation.fits(x, out)) {
      HeadRotation.rotate(x, angles.cos(), angles.sin(), out);
      return;
    }
    long half = x.size(-1) / 2;
    Tensor a = x.narrow(-1, 0, half);
    Tensor b = x.narrow(-1, half, half);
    Tensor outA = out.narrow(-1, 0, half);
    Tensor outB = out.narrow(-1, half, half);
    torch.mul_out(outA, a, angles.cos());
    outA.addcmul_(b, angles.sin(), new Scalar(-1.0));
    torch.mul_out(outB, b, angles.cos());
    outB.addcmul_(a, angles.sin());
  }

  @Override
  public void close() {
    retained.close();
  }
}
