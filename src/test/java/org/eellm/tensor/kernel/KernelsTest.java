package org.eellm.tensor.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.tensor.Torch.cpu;

import java.util.List;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.CachedAttention.Run;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Kernels in bfloat16 against libtorch's operations and gradients in float32. */
final class KernelsTest {
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
  @CsvSource({"1, 1024, 1.0", "3, 1003, 0.7", "5, 7, 2.0", "40, 1, 1.0"})
  void logitRows_figures_equalLibtorch(int rows, int width, double temperature) {
    Tensor logits = torch.randn(rows, width + 5).mul(new Scalar(4)).narrow(1, 0, width);

    LogitRows.Largest largest = LogitRows.largest(logits);
    float[] normalizers = LogitRows.logSumExp(logits, largest.values(), temperature);

    assertThat(LogitRows.fits(logits)).isTrue();
    assertThat(largest.values()).isEqualTo(Tensors.toFloats(torch.max(logits, 1).get0()));
    assertThat(IntStream.of(largest.places()).asLongStream().toArray())
        .isEqualTo(Tensors.toLongs(torch.max(logits, 1).get1()));
    assertThat(normalizers)
        .containsExactly(
            Tensors.toFloats(torch.logsumexp(logits.div(new Scalar(temperature)), new long[] {-1})),
            within(1e-5f));
  }

  @Test
  void logitRows_equalLogits_firstIsLargest() {
    Tensor logits = torch.zeros(1, 50);
    logits.narrow(1, 21, 29).add_(new Scalar(1));

    assertThat(LogitRows.largest(logits).places()).containsExactly(21);
  }

  @Test
  void logitRows_notANumber_isSaid() {
    Tensor logits = torch.zeros(1, 50);
    logits.narrow(1, 21, 1).fill_(new Scalar(Double.NaN));

    float[] largest = LogitRows.largest(logits).values();

    assertThat(largest).containsExactly(Float.NaN);
    assertThat(LogitRows.logSumExp(logits, largest, 1)).containsExactly(Float.NaN);
  }

  @Test
  void rmsNormalization_forwardBackward_equalsLibtorch() {
    Tensor x = bfloat16(torch.randn(37, 96));
    Tensor weight = bfloat16(torch.randn(96));
    Tensor gradient = bfloat16(torch.randn(37, 96));
    Tensor wideX = leaf(x);
    Tensor wideWeight = leaf(weight);
    Tensor expected =
        torch.rms_norm(
            wideX, new long[] {96}, new TensorOptional(wideWeight), new DoubleOptional(1e-5));
    expected.mul(wide(gradient)).sum().backward();

    RmsNormalization.Backward backward = RmsNormalization.backward(x, weight, gradient, 1e-5);

    assertThat(RmsNormalization.fits(x)).isTrue();
    assertClose(RmsNormalization.forward(x, weight, 1e-5), expected);
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
    CausalSoftmax.forward(scores, first, length);
    CausalSoftmax.backward(bfloat16(p), gradient, first, length);

    assertClose(scores, expected);
    assertClose(gradient, expectedGradient);
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
  void headRotation_placedRows_equalTheDefinition() {
    Tensor fused = bfloat16(torch.randn(3, 5, 64));
    Tensor factors = bfloat16(torch.randn(3, 5, 64));
    Tensor rolled = bfloat16(torch.randn(3, 5, 64));

    assertThat(HeadRotation.fits(fused)).isTrue();
    Tensor out = HeadRotation.place(fused, factors, rolled);

    Tensor other = torch.roll(wide(fused), new long[] {32}, new long[] {2});
    assertClose(out, wide(fused).mul(wide(factors)).add(other.mul(wide(rolled))));
  }

  /** The last of {@code rows} is at the last position; where positions lie has gaps and turns. */
  @ParameterizedTest
  @CsvSource({"1, 4, 4, 64, 1", "1, 4, 2, 64, 57", "3, 8, 2, 32, 30", "5, 6, 1, 96, 47"})
  void cachedAttention_scatteredPositions_equalsLibtorch(
      int rows, int heads, int keyValueHeads, int width, int length) {
    Tensor fused = bfloat16(torch.randn(rows + 1, heads + 2 * keyValueHeads, width));
    Tensor query = fused.narrow(1, 0, heads); // of which the first row is another sequence's
    Tensor cache = torch.randn(2 * keyValueHeads, 100, width);
    Tensor out = bfloat16(torch.zeros(rows + 1, (long) heads * width));
    int cut = length / 3;
    List<Run> runs =
        cut == 0
            ? List.of(new Run(0, 7, length))
            : List.of(
                new Run(0, 40, cut), new Run(cut, 0, 2), new Run(cut + 2, 61, length - cut - 2));

    assertThat(CachedAttention.fits(cpu(), ScalarType.BFloat16, ScalarType.Float, width)).isTrue();
    CachedAttention.attend(query, 1, rows, cache, runs, out);

    TensorVector parts = new TensorVector();
    runs.forEach(run -> parts.push_back(cache.narrow(1, run.row(), run.count())));
    Tensor all =
        torch
            .cat(parts, 1)
            .view(2, keyValueHeads, 1, length, width)
            .expand(2, keyValueHeads, heads / keyValueHeads, length, width)
            .reshape(2, heads, length, width);
    Tensor scores = // [H, n, L]
        torch.matmul(
            wide(query).narrow(0, 1, rows).transpose(0, 1), all.select(0, 0).transpose(1, 2));
    Tensor ahead =
        torch
            .full(new long[] {rows, length}, new Scalar(Double.NEGATIVE_INFINITY))
            .triu_(length - rows + 1L);
    Tensor expected =
        torch
            .matmul(torch.softmax(scores.add(ahead), 2), all.select(0, 1))
            .transpose(0, 1)
            .reshape(rows, (long) heads * width);
    assertClose(out.narrow(0, 1, rows), expected);
    assertThat(out.narrow(0, 0, 1).abs().max().item_double()).isZero();
  }

  @Test
  void cachedAttention_rowsTogether_equalEachAlone() {
    Tensor query = bfloat16(torch.randn(4, 8, 64));
    Tensor cache = torch.randn(4, 80, 64);
    Tensor together = bfloat16(torch.zeros(4, 512));
    Tensor alone = bfloat16(torch.zeros(4, 512));

    CachedAttention.attend(query, 0, 4, cache, List.of(new Run(0, 0, 70)), together);
    for (int row = 0; row < 4; row++) {
      List<Run> runs = List.of(new Run(0, 0, 33), new Run(33, 33, 34 + row));
      CachedAttention.attend(query, row, 1, cache, runs, alone);
    }

    assertThat(torch.equal(together, alone)).isTrue();
  }

  @Test
  void cachedAttention_write_putsKeysAndValuesOfOneRow() {
    Tensor fused = bfloat16(torch.randn(3, 10, 32));
    Tensor keyValue = fused.narrow(1, 6, 4);
    Tensor cache = torch.zeros(4, 9, 32);

    CachedAttention.write(keyValue, 2, cache, 5);

    assertThat(torch.equal(cache.select(1, 5), wide(keyValue).select(0, 2))).isTrue();
    assertThat(cache.count_nonzero().item_long()).isEqualTo(4 * 32);
  }

  @Test
  void cachedAttention_whatItCannotTake_doesNotFit() {
    assertThat(CachedAttention.fits(cpu(), ScalarType.BFloat16, ScalarType.Float, 64)).isTrue();
    assertThat(CachedAttention.fits(cpu(), ScalarType.BFloat16, ScalarType.Float, 40)).isFalse();
    assertThat(CachedAttention.fits(cpu(), ScalarType.Float, ScalarType.Float, 64)).isFalse();
    assertThat(CachedAttention.fits(cpu(), ScalarType.BFloat16, ScalarType.BFloat16, 64)).isFalse();
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
    assertClose(rows.likeliest(), likeliest);
    assertClose(logits, leaf.grad());
  }

  @ParameterizedTest
  @CsvSource({"1, 32, 4", "2, 96, 20", "4, 768, 2304", "1, 2048, 768"})
  void skinnyProduct_bfloat16_equalsLibtorch(long rows, long in, long out) {
    Tensor x = bfloat16(torch.randn(rows, in));
    Tensor weight = bfloat16(torch.randn(out, in));

    assertThat(SkinnyProduct.fits(x, weight)).isTrue();
    assertProduct(SkinnyProduct.forward(x, weight), x, weight);
  }

  @ParameterizedTest
  @CsvSource({"1, 32, 4", "5, 96, 20", "32, 768, 256", "1, 2048, 768"})
  void skinnyProduct_int8_equalsLibtorch(long rows, long in, long out) {
    Tensor x = bfloat16(torch.randn(rows, in));
    Tensor values =
        torch
            .randn(out, in)
            .mul(new Scalar(50.0))
            .clamp(scalar(-127), scalar(127))
            .to(ScalarType.Char);
    Tensor scales = torch.rand(out).add(new Scalar(0.1));

    assertThat(SkinnyProduct.fitsInt8(x, values)).isTrue();
    assertProduct(SkinnyProduct.forward(x, values, scales), x, values.mul(scales.unsqueeze(1)));
  }

  @Test
  void skinnyProduct_anyNumberOfRows_givesEachRowTheSame() {
    Tensor x = bfloat16(torch.randn(3, 256));
    Tensor weight = bfloat16(torch.randn(64, 256));

    Tensor together = SkinnyProduct.forward(x, weight);

    for (int row = 0; row < 3; row++) {
      Tensor alone = SkinnyProduct.forward(x.narrow(0, row, 1), weight);
      assertThat(Tensors.toFloats(together.narrow(0, row, 1))).isEqualTo(Tensors.toFloats(alone));
    }
  }

  @Test
  void skinnyProduct_whatItCannotTake_doesNotFit() {
    Tensor weight = bfloat16(torch.randn(64, 256));

    assertThat(SkinnyProduct.fits(bfloat16(torch.randn(5, 256)), weight)).isFalse();
    assertThat(SkinnyProduct.fits(torch.randn(1, 256), weight)).isFalse();
    assertThat(SkinnyProduct.fits(bfloat16(torch.randn(1, 256)), torch.randn(64, 256))).isFalse();
    assertThat(SkinnyProduct.fits(bfloat16(torch.randn(1, 256)), weight.narrow(0, 0, 63)))
        .isFalse();
    assertThat(SkinnyProduct.fits(bfloat16(torch.randn(1, 248)), weight.narrow(1, 0, 248)))
        .isFalse();
  }

  private static ScalarOptional scalar(int value) {
    return new ScalarOptional(new Scalar(value));
  }

  /** Sums of many terms may cancel, so that what is allowed goes by the terms' own size. */
  private static void assertProduct(Tensor actual, Tensor x, Tensor weight) {
    Tensor want = torch.mm(wide(x), wide(weight).t());
    Tensor size = torch.mm(wide(x).abs(), wide(weight).abs().t());
    Tensor allowed = want.abs().mul(new Scalar(ROUNDING)).add_(size.mul(new Scalar(0x1p-20)));
    assertThat(wide(actual).sub(want).abs_().sub_(allowed).max().item_double())
        .isLessThanOrEqualTo(0);
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
