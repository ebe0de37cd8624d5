package org.eellm.model.parameter;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Quantization;
import org.eellm.model.TensorParallel;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.TensorException;
import org.eellm.tensor.Tensors;

/**
 * All parameters that a rank holds. Those that learn are in one flat buffer of the compute format:
 * matrices first, then vectors, so that weight decay covers a prefix; in each of the two, those
 * that tensor-parallel ranks share out before those that each has whole. Gradients, master weights
 * and moments are flat buffers of the same layout. Those that stay as they are have a buffer of
 * their own, and nothing beside it; or two, with the matrices quantized in one of them.
 */
public final class Parameters implements AutoCloseable {
  private final RetainedTensors retained = new RetainedTensors();
  private final Buffer learned;
  private final long frozen;
  private final Map<String, Parameter> byName = new LinkedHashMap<>();
  private final Map<String, Weight> weightByFirstName = new LinkedHashMap<>();
  private final TensorParallel parallel;

  /**
   * Parameters one after another.
   *
   * @param used number of elements without the zeros at the end
   * @param decayed number of leading elements that are of matrices
   */
  private record Buffer(Tensor flat, long used, long decayed) {}

  /**
   * The memory that parameters lie in.
   *
   * @param type of those that learn
   * @param multiple their flat buffer's length is made a multiple of this, with zeros at its end
   */
  public record Memory(ScalarType type, Device device, int multiple) {
    private Memory unpadded() {
      return new Memory(type, device, 1);
    }
  }

  private Parameters(
      List<List<ParameterSpec>> groups,
      Predicate<String> requiresGrad,
      Quantization quantization,
      TensorParallel parallel,
      Memory memory) {
    this.parallel = parallel;
    Map<Boolean, List<List<ParameterSpec>>> parts =
        groups.stream()
            .collect(
                Collectors.partitioningBy(group -> requiresGrad.test(group.getFirst().name())));
    List<List<ParameterSpec>> still = parts.getOrDefault(false, List.of());
    try (Scope scope = Scope.open()) {
      learned = add(parts.getOrDefault(true, List.of()), true, memory);
      frozen =
          switch (quantization) {
            case NONE -> add(still, false, memory.unpadded()).used();
            case INT8 ->
                add(rounded(still, false), false, memory.unpadded()).used()
                    + add(
                            rounded(still, true),
                            false,
                            new Memory(ScalarType.Char, memory.device(), 1))
                        .used();
            case INT4 -> throw new IllegalArgumentException("libtorch multiplies with no int4");
          };
    }
  }

  private Buffer add(List<List<ParameterSpec>> groups, boolean requiresGrad, Memory memory) {
    List<List<ParameterSpec>> ordered = new ArrayList<>(groups);
    ordered.sort(
        Comparator.comparing((List<ParameterSpec> group) -> isVector(group))
            .thenComparing(group -> group.getFirst().split() == Sharding.REPLICATED));
    long count = 0;
    long matrices = 0;
    for (List<ParameterSpec> group : ordered) {
      long size = group.stream().mapToLong(spec -> spec.shardNumel(parallel.size())).sum();
      count += size;
      matrices += isVector(group) ? 0 : size;
    }
    Tensor flat =
        retained.retain(
            Tensors.empty(
                memory.type(),
                memory.device(),
                Math.ceilDiv(count, memory.multiple()) * memory.multiple()));
    flat.narrow(0, count, flat.numel() - count).zero_();
    long offset = 0;
    int index = 0;
    for (List<ParameterSpec> group : ordered) {
      offset = add(group, flat, requiresGrad, index++, offset);
    }
    return new Buffer(flat, count, matrices);
  }

  /** The groups that are rounded to 8 bits, or the others: vectors and routers. */
  private static List<List<ParameterSpec>> rounded(
      List<List<ParameterSpec>> groups, boolean rounded) {
    return groups.stream()
        .filter(
            group ->
                (isVector(group) || ParameterName.isRouter(group.getFirst().name())) != rounded)
        .toList();
  }

  private static boolean isVector(List<ParameterSpec> group) {
    return group.getFirst().shape().size() < 2;
  }

  /**
   * Uninitialised memory for {@code groups} of parameters; each group acts as one {@link Weight},
   * its members stacked along the first dimension.
   *
   * @param requiresGrad which learn, by the name of the group's first
   * @param quantization of the matrices that do not learn
   */
  public static Parameters allocate(
      List<List<ParameterSpec>> groups,
      Predicate<String> requiresGrad,
      Quantization quantization,
      TensorParallel parallel,
      Memory memory) {
    return new Parameters(groups, requiresGrad, quantization, parallel, memory);
  }

  private long add(
      List<ParameterSpec> group, Tensor flat, boolean requiresGrad, int index, long start) {
    ParameterSpec first = group.getFirst();
    long[] shape = first.shardShape(parallel.size());
    shape[0] = group.stream().mapToLong(spec -> spec.shardShape(parallel.size())[0]).sum();
    Optional<Tensor> scales =
        Tensors.scalarType(flat) == ScalarType.Char
            ? Optional.of(retained.retain(Tensors.empty(ScalarType.Float, flat.device(), shape[0])))
            : Optional.empty();
    long offset = start;
    long row = 0;
    for (ParameterSpec spec : group) {
      long from = row;
      long[] part = spec.shardShape(parallel.size());
      long numel = spec.shardNumel(parallel.size());
      Tensor view = retained.retain(flat.narrow(0, offset, numel).view(part));
      byName.put(
          spec.name(),
          new Parameter(
              spec.name(),
              part,
              spec.shapeArray(),
              spec.split(),
              requiresGrad,
              offset,
              view,
              scales.map(all -> retained.retain(all.narrow(0, from, part[0])))));
      offset += numel;
      row += part[0];
    }
    Tensor value = retained.retain(flat.narrow(0, start, offset - start).view(shape));
    weightByFirstName.put(
        first.name(),
        new Weight(first.name(), index, first.split(), requiresGrad, start, value, scales));
    return offset;
  }

  /** The ranks that share the matrices. */
  public TensorParallel tensorParallel() {
    return parallel;
  }

  /** All parameters: first those that {@link #trainable require gradients}. */
  public List<Parameter> all() {
    return List.copyOf(byName.values());
  }

  /** The parameters that learn, in the flat buffer's order. */
  public List<Parameter> trainable() {
    return byName.values().stream().filter(Parameter::requiresGrad).toList();
  }

  /**
   * The parameter called {@code name}.
   *
   * @throws TensorException if there is none
   */
  public Parameter get(String name) {
    Parameter parameter = byName.get(name);
    if (parameter == null) {
      throw new TensorException("the model has no parameter " + name);
    }
    return parameter;
  }

  /** The operations' weights that learn, in the flat buffer's order; they cover it without gaps. */
  public List<Weight> weights() {
    return weightByFirstName.values().stream().filter(Weight::requiresGrad).toList();
  }

  public Weight weight(String firstName) {
    Weight weight = weightByFirstName.get(firstName);
    if (weight == null) {
      throw new TensorException("the model has no weight that begins with " + firstName);
    }
    return weight;
  }

  public boolean has(String name) {
    return byName.containsKey(name);
  }

  /** All compute weights that learn, [count()], and zeros up to the multiple asked for. */
  public Tensor flat() {
    return learned.flat();
  }

  /** Number of elements that learn, without the zeros at the end. */
  public long count() {
    return learned.used();
  }

  public long frozenCount() {
    return frozen;
  }

  /**
   * Number of leading elements that weight decay applies to: those of tensors with at least 2
   * dimensions.
   */
  public long decayedCount() {
    return learned.decayed();
  }

  @Override
  public void close() {
    retained.close();
  }
}
