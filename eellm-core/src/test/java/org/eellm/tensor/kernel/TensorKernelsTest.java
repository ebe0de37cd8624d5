package org.eellm.tensor.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.tensor.Torch.cpu;

import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Kernels in bfloat16 against libtorch's operations and gradients in float32. */
final class TensorKernelsTest {
  /** Half a unit in the last place of bfloat16, and float32's own errors. */
  private static final double ROUNDING = 0x1p-8;

  private final Scope scope = Scope.open();

  @BeforeEach
  void seed() {
    torch.manual_seed(5);
  }

  @AfterEach
  void free() {
    scope.close();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void rmsNormalization_forwardBackward_equalsLibtorch(boolean zeroCentered) {
    Tensor x = bfloat16(torch.randn(37, 96));
    Tensor weight = bfloat16(torch.randn(96));
    Tensor gradient = bfloat16(torch.randn(37, 96));
    Tensor wideX = leaf(x);
    Tensor wideWeight = leaf(weight);
    Tensor scale = wideWeight.add(new Scalar(zeroCentered ? 1.0 : 0.0));
    Tensor expected =
        torch.rms_norm(wideX, new long[] {96}, new TensorOptional(scale), new DoubleOptional(1e-5));
    expected.mul(wide(gradient)).sum().backward();

    RmsNormalization.Backward backward =
        RmsNormalization.backward(x, weight, zeroCentered, gradient, 1e-5);

    assertThat(RmsNormalization.fits(x)).isTrue();
    assertClose(RmsNormalization.forward(x, weight, zeroCentered, 1e-5), expected);
    assertClose(backward.x(), wideX.grad());
    assertClose(backward.weight(), wideWeight.grad());
  }

  @Test
  void swiGlu_forwardBackward_equalsLibtorch() {
    Tensor inner = bfloat16(torch.randn(37, 192).mul(new Scalar(8.0)));
    Tensor gradient = bfloat16(torch.randn(37, 96));
    Tensor leaf = leaf(inner);
    Tensor expected = torch.silu(leaf.narrow(1, 0, 96)).mul(leaf.narrow(1, 96, 96));
    expected.mul(wide(gradient)).sum().backward();

    assertThat(SwiGlu.fits(inner)).isTrue();
    assertClose(SwiGlu.forward(inner), expected);
    assertClose(SwiGlu.backward(inner, gradient), leaf.grad());
  }

  @Test
  void swiGlu_farFromZero_staysFiniteAndKeepsNotANumber() {
    float[] values = new float[64];
    values[0] = 1e30f;
    values[1] = -1e30f;
    values[2] = Float.NaN;
    java.util.Arrays.fill(values, 32, 64, 1);
    Tensor inner = bfloat16(Tensors.ofFloats(values, cpu(), 1, 64));

    float[] active = Tensors.toFloats(SwiGlu.forward(inner));

    assertThat(active[0]).isGreaterThan(9e29f);
    assertThat(active[1]).isCloseTo(0, within(1e-6f));
    assertThat(active[2]).isNaN();
    assertThat(active[3]).isZero();
  }

  @ParameterizedTest
  @CsvSource({"0, 32", "64, 32", "7, 25", "0, 1"})
  void causalSoftmax_forwardBackward_equalsLibtorch(long first, long length) {
    long keys = 96;
    Tensor scores = bfloat16(torch.randn(3, 2 * length, keys).mul(new Scalar(4.0)));
    Tensor gradient = bfloat16(torch.randn(3, 2 * length, keys));
    Tensor mask =
        torch
            .full(new long[] {length, keys}, new Scalar(Double.NEGATIVE_INFINITY))
            .triu_(first + 1);
    Tensor both = torch.cat(new TensorVector(mask, mask), 0); // Two heads share keys.
    Tensor expected = torch.softmax(wide(scores).add(both), -1);
    Tensor p = wide(bfloat16(expected));
    Tensor inner = p.mul(wide(gradient)).sum(new long[] {-1}, true, new ScalarTypeOptional());
    Tensor expectedGradient = p.mul(wide(gradient).sub(inner));

    assertThat(CausalSoftmax.fits(scores)).isTrue();
    CausalSoftmax.forward(scores, first, length, 0, KeyStarts.SEQUENCE);
    CausalSoftmax.backward(bfloat16(p), gradient, first, length);

    assertClose(scores, expected);
    assertClose(gradient, expectedGradient);
  }

  @ParameterizedTest
  @CsvSource({"0, 32", "64, 32", "7, 25"})
  void causalSoftmax_documents_hidesThoseBefore(long first, long length) {
    long keys = 96;
    Tensor scores = bfloat16(torch.randn(3, 2 * length, keys).mul(new Scalar(4.0)));
    long[] starts = new long[3 * 96];
    for (int i = 0; i < starts.length; i++) {
      int position = i % 96; // Documents begin at 0, 5, 41 and 70; the third sequence has one.
      starts[i] = i >= 192 || position < 5 ? 0 : position < 41 ? 5 : position < 70 ? 41 : 70;
    }
    Tensor begin = Tensors.ofLongs(starts, cpu(), 3, 96);
    Tensor position = torch.arange(new Scalar(keys), Torch.options(ScalarType.Long, cpu()));
    Tensor query = position.narrow(0, first, length).view(length, 1);
    Tensor hidden = // [3, length, keys]
        position.lt(begin.narrow(1, first, length).unsqueeze(2)).logical_or(position.gt(query));
    Tensor both = torch.cat(new TensorVector(hidden, hidden), 1);
    Tensor expected =
        torch.softmax(wide(scores).masked_fill(both, new Scalar(Double.NEGATIVE_INFINITY)), -1);

    CausalSoftmax.forward(scores, first, length, 0, new KeyStarts.OfTokens(begin));

    assertClose(scores, expected);
    assertThat(wide(scores).masked_select(both).abs().max().item_double()).isZero();
  }

  /** Keys that no query of a block sees are not among its scores. */
  @Test
  void causalSoftmax_windowThatBeginsLater_equalsLibtorch() {
    long key = 32;
    long keys = 64;
    long first = 64; // of 32 queries, which see 33 keys each
    Tensor scores = bfloat16(torch.randn(3, 64, keys).mul(new Scalar(4.0)));
    Tensor position = torch.arange(new Scalar(96L), Torch.options(ScalarType.Long, cpu()));
    Tensor distance = position.narrow(0, first, 32).view(32, 1).sub(position.narrow(0, key, keys));
    Tensor hidden = distance.lt(new Scalar(0L)).logical_or(distance.gt(new Scalar(32L)));
    Tensor both = torch.cat(new TensorVector(hidden, hidden), 0);
    Tensor expected =
        torch.softmax(wide(scores).masked_fill(both, new Scalar(Double.NEGATIVE_INFINITY)), -1);

    KeyStarts starts = KeyStarts.SEQUENCE.notBefore(position.sub(new Scalar(32L)).view(1, 96));
    CausalSoftmax.forward(scores, first, 32, key, starts);

    assertClose(scores, expected);
    assertThat(wide(scores).masked_select(both).abs().max().item_double()).isZero();
  }

  @Test
  void headRotation_stridedHeads_equalsTheDefinition() {
    Tensor fused = bfloat16(torch.randn(2, 5, 6, 64)); // [b, s, H, D]
    Tensor x = fused.narrow(2, 1, 4).view(2, 5, 2, 2, 64).permute(0, 2, 3, 1, 4);
    Tensor cos = bfloat16(torch.rand(5, 32));
    Tensor sin = bfloat16(torch.rand(5, 32));
    Tensor out = torch.empty_like(bfloat16(torch.zeros(2, 2, 2, 5, 64)));

    assertThat(HeadRotation.fits(x, out)).isTrue();
    HeadRotation.rotate(x, cos, sin, out);

    Tensor a = wide(x.narrow(-1, 0, 32));
    Tensor b = wide(x.narrow(-1, 32, 32));
    assertClose(out.narrow(-1, 0, 32), a.mul(wide(cos)).sub(b.mul(wide(sin))));
    assertClose(out.narrow(-1, 32, 32), b.mul(wide(cos)).add(a.mul(wide(sin))));
  }

  @Test
  void crossEntropy_forwardBackward_equalsLibtorch() {
    Tensor logits = bfloat16(torch.randn(9, 160).mul(new Scalar(6.0)));
    Tensor targets = Tensors.ofLongs(new long[] {0, 159, 16, 15, 3, 80, 31, 32, 1}, cpu(), 9);
    Tensor leaf = leaf(logits);
    Tensor expected = torch.log_softmax(leaf, -1).gather(1, targets.unsqueeze(1)).neg();
    expected.sum().backward();
    Tensor likeliest = torch.softmax(leaf, -1).amax(new long[] {-1}, true);

    assertThat(CrossEntropy.fits(logits)).isTrue();
    CrossEntropy.Rows rows = CrossEntropy.forwardBackward(logits, targets);

    assertClose(rows.loss(), expected);
    assertClose(rows.maxProbability(), likeliest);
    assertClose(logits, leaf.grad());
  }

  @ParameterizedTest
  @ValueSource(longs = {5, 64, 5003}) // a rest alone, whole vectors, both
  void adamWStep_anyLength_equalsTheDefinition(long count) {
    Tensor g = torch.randn(count);
    Tensor m = torch.randn(count);
    Tensor v = torch.rand(count);
    Tensor p = torch.randn(count);
    Tensor weights = bfloat16(p);
    Tensor expectedM = m.mul(new Scalar(0.9)).add(g, new Scalar(0.1));
    Tensor expectedV = v.mul(new Scalar(0.95)).addcmul(g, g, new Scalar(0.05));
    Tensor expected =
        p.mul(new Scalar(0.99))
            .addcdiv(expectedM, expectedV.sqrt().add(new Scalar(1e-3)), new Scalar(-0.01));

    new AdamWStep(0.9, 0.1, 0.95, 0.05, 1e-3, 0.99, 0.01).apply(g, m, v, p, weights);

    assertThat(Tensors.toFloats(m)).containsExactly(Tensors.toFloats(expectedM), within(1e-6f));
    assertThat(Tensors.toFloats(v)).containsExactly(Tensors.toFloats(expectedV), within(1e-6f));
    assertThat(Tensors.toFloats(p)).containsExactly(Tensors.toFloats(expected), within(1e-6f));
    assertThat(Tensors.toFloats(weights)).isEqualTo(Tensors.toFloats(bfloat16(p)));
  }

  @Test
  void fits_whatKernelsCannotTake_isFalse() {
    assertThat(RmsNormalization.fits(torch.randn(2, 64))).isFalse(); // float32
    assertThat(RmsNormalization.fits(bfloat16(torch.randn(2, 65)))).isFalse(); // a rest
    assertThat(RmsNormalization.fits(bfloat16(torch.randn(64, 64)).t())).isFalse(); // gaps
  }

  private static Tensor bfloat16(Tensor x) {
    return x.to(ScalarType.BFloat16);
  }

  private static Tensor wide(Tensor x) {
    return x.to(ScalarType.Float);
  }

  private static Tensor leaf(Tensor x) {
    return wide(x).detach().requires_grad_(true);
  }

  /** Within rounding of each number, or of the largest one where terms cancel. */
  private static void assertClose(Tensor actual, Tensor expected) {
    Tensor want = wide(expected).detach();
    Tensor allowed = want.abs().mul(new Scalar(ROUNDING)).add_(new Scalar(1e-5));
    Tensor excess = wide(actual).sub(want).abs_().sub_(allowed);
    assertThat(excess.max().item_double()).isLessThanOrEqualTo(0);
  }
}
