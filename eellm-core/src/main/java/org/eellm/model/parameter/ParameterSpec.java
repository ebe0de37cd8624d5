package org.eellm.model.parameter;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Architecture;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.model.Dropout;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * A parameter before it has memory.
 *
 * @param name in the Hugging Face scheme
 * @param shape of the whole parameter; a matrix is [out, in]
 * @param split what a rank of tensor parallelism holds of it
 */
public record ParameterSpec(String name, List<Long> shape, Initial initial, Sharding split) {

  /**
   * How a parameter starts: N(0, std), N(0, std / sqrt(2 numLayers)), uniform up to 1 / sqrt(in),
   * ones or zeros.
   */
  public enum Initial {
    NORMAL,
    NORMAL_SCALED_BY_DEPTH,
    KAIMING_UNIFORM,
    ONES,
    ZEROS
  }

  public ParameterSpec {
    shape = List.copyOf(shape);
  }

  static ParameterSpec of(String name, Initial initial, Sharding split, long... shape) {
    return new ParameterSpec(name, Arrays.stream(shape).boxed().toList(), initial, split);
  }

  public static List<ParameterSpec> of(Architecture architecture) {
    return of(architecture, StageLayout.whole(architecture).slices());
  }

  /** The parameters that parts of a model need, a tied matrix among them. */
  public static List<ParameterSpec> of(Architecture architecture, List<Slice> slices) {
    return ParameterLayout.groups(architecture, slices, Learning.EVERYTHING).stream()
        .flatMap(List::stream)
        .toList();
  }

  /**
   * Initial values of the whole parameter, float32, from a stream of its own: they depend on the
   * seed and its name alone.
   */
  public Tensor draw(ModelConfig model, long seed) {
    try (Scope scope = Scope.open()) {
      Tensor value = Tensors.empty(ScalarType.Float, Torch.cpu(), shapeArray());
      return scope.moveToOuter(
          switch (initial) {
            case ONES -> value.fill_(Tensors.scalar(1));
            case ZEROS -> value.zero_();
            case KAIMING_UNIFORM -> {
              double most = 1 / Math.sqrt(shape.getLast());
              yield value.uniform_(-most, most, generator(seed));
            }
            case NORMAL -> normal(value, model.initStd(), seed);
            case NORMAL_SCALED_BY_DEPTH ->
                normal(value, model.initStd() / Math.sqrt(2.0 * model.numLayers()), seed);
          });
    }
  }

  private Tensor normal(Tensor value, double std, long seed) {
    return value.normal_(0, std, generator(seed));
  }

  private GeneratorOptional generator(long seed) {
    return new GeneratorOptional(torch.make_generator_cpu(Dropout.mix(seed, name.hashCode())));
  }

  /** Number of elements of the whole parameter. */
  public long numel() {
    return shape.stream().reduce(1L, Math::multiplyExact);
  }

  long[] shapeArray() {
    return shape.stream().mapToLong(Long::longValue).toArray();
  }

  /** The shape of one of {@code ranks} equal parts. */
  long[] shardShape(int ranks) {
    return split.shardShape(shapeArray(), ranks);
  }

  /** Elements of one of {@code ranks} equal parts. */
  public long shardNumel(int ranks) {
    return Arrays.stream(shardShape(ranks)).reduce(1L, Math::multiplyExact);
  }
}
