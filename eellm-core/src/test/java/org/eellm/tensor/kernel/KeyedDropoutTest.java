package org.eellm.tensor.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.KeyedDropout.Place;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

final class KeyedDropoutTest {
  private static final long KEY = 0x3A5C_91E7_0B2D_F468L;

  private static Tensor ones(ScalarType type, long rows, long columns) {
    return torch.ones(new long[] {rows, columns}, Torch.options(type, Torch.cpu()));
  }

  private static double[] factors(long key, double probability, Place place, long columns) {
    try (Scope scope = Scope.open()) {
      return Tensors.toDoubles(
          new KeyedDropout(key, probability, place)
              .of(ones(ScalarType.Float, place.length(), columns)));
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = ScalarType.class,
      names = {"Float", "BFloat16", "Double"})
  void applyTo_anyFormat_dropsWhatLibtorchsIntegersDraw(ScalarType type) {
    try (Scope scope = Scope.open()) {
      Place place = new Place(2, 5, 3, 20, 2, 44, 7);
      KeyedDropout dropout = new KeyedDropout(KEY, 0.3, place);
      Tensor x = torch.rand(new long[] {9, 133}).add_(new Scalar(1.0));
      x = x.to(type);

      Tensor dropped = dropout.of(x);
      Tensor inPlace = x.clone();
      dropout.applyTo(inPlace);

      assertThat(torch.equal(dropped, inPlace)).isTrue();
      assertThat(torch.equal(dropped.eq(new Scalar(0.0)), dropout.dropped(x))).isTrue();
      Tensor scaled = x.to(ScalarType.Double).mul(new Scalar(1 / 0.7)).to(type);
      Tensor kept = dropout.dropped(x).logical_not();
      assertThat(torch.allclose(dropped.masked_select(kept), scaled.masked_select(kept))).isTrue();
    }
  }

  @Test
  void of_rowsInParts_areTheRowsOfTheWhole() {
    try (Scope scope = Scope.open()) {
      Tensor x = ones(ScalarType.Float, 12, 50);
      Tensor whole = new KeyedDropout(KEY, 0.4, Place.ofRuns(0, 12, 12)).of(x);
      Tensor part = ones(ScalarType.Float, 6, 50);

      // Two ranks with heads of three sequences, two rows a sequence each.
      Tensor even = new KeyedDropout(KEY, 0.4, Place.ofRuns(0, 2, 4)).of(part);
      Tensor odd = new KeyedDropout(KEY, 0.4, Place.ofRuns(2, 2, 4)).of(part);

      Tensor joined =
          torch.cat(new TensorVector(even.view(3, 2, 50), odd.view(3, 2, 50)), 1).view(12, 50);
      assertThat(torch.equal(joined, whole)).isTrue();
    }
  }

  /** Of two sequences of eight tokens a rank has tokens 2, 3, 4 and 5; columns 20 to 49. */
  @Test
  void of_runsInGroups_areTheseRowsAndColumnsOfTheWhole() {
    try (Scope scope = Scope.open()) {
      Tensor whole =
          new KeyedDropout(KEY, 0.4, Place.ofRuns(0, 16, 16)).of(ones(ScalarType.Float, 16, 50));
      Tensor wanted = whole.view(2, 8, 50).narrow(1, 2, 4).reshape(8, 50).narrow(1, 20, 30);

      Place place = new Place(0, 2, 1, 1, 4, 8, 20);
      Tensor part = new KeyedDropout(KEY, 0.4, place).of(ones(ScalarType.Float, 8, 30));
      Place last = new Place(3, 2, 1, 1, 4, 8, 20);
      Tensor end = new KeyedDropout(KEY, 0.4, last).of(ones(ScalarType.Float, 5, 30));

      assertThat(torch.equal(part, wanted)).isTrue();
      assertThat(torch.equal(end, wanted.narrow(0, 3, 5))).isTrue();
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {0.05, 0.1, 0.5, 0.9})
  void of_ones_haveTheMeanAndVarianceOfDropout(double probability) {
    double[] factors = factors(KEY, probability, Place.ofRuns(0, 1000, 1000), 1000);
    double mean =
        IntStream.range(0, factors.length).mapToDouble(i -> factors[i]).average().orElse(0);
    double variance =
        IntStream.range(0, factors.length)
            .mapToDouble(i -> Math.pow(factors[i] - 1, 2))
            .average()
            .orElse(0);
    double expected = probability / (1 - probability);
    // Five standard deviations of a million draws.
    assertThat(mean).isCloseTo(1, within(5 * Math.sqrt(expected / 1e6)));
    assertThat(variance).isCloseTo(expected, within(0.02 * expected));
  }

  /** Neighbours by row, column, key and bit of the key have nothing to do with each other. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 4})
  void of_neighbours_areIndependent(int which) {
    int rows = 1000;
    int columns = 1000;
    double[] x = factors(KEY, 0.5, Place.ofRuns(0, rows, rows), columns);
    double[] y =
        switch (which) {
          case 0 -> factors(KEY, 0.5, Place.ofRuns(1, rows, rows), columns);
          case 1 -> factors(KEY + 1, 0.5, Place.ofRuns(0, rows, rows), columns);
          case 2 -> factors(KEY ^ 1L << 32, 0.5, Place.ofRuns(0, rows, rows), columns);
          case 3 -> shifted(x, 1);
          default -> shifted(x, 16);
        };
    double product = 0;
    for (int i = 0; i < x.length; i++) {
      product += (x[i] - 1) * (y[i] - 1);
    }
    assertThat(product / x.length).isCloseTo(0, within(5e-3));
  }

  private static double[] shifted(double[] x, int by) {
    double[] shifted = new double[x.length];
    for (int i = 0; i < x.length; i++) {
      shifted[i] = x[(i + by) % x.length];
    }
    return shifted;
  }
}
