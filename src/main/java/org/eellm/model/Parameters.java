package org.eellm.model;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.tensor.TensorException;
import org.eellm.tensor.Tensors;

/**
 * All parameters of a model in one flat buffer of the compute format: matrices first, then vectors,
 * so that weight decay covers a prefix. Gradients, master weights and moments are flat buffers of
 * the same layout.
 */
public final class Parameters implements AutoCloseable {
  private final Kept kept = new Kept();
  private final Tensor flat;
  private final long decayed;
  private final Map<String, Parameter> byName = new LinkedHashMap<>();
  private final Map<String, Weight> weightByFirstName = new LinkedHashMap<>();

  private Parameters(List<List<ParameterSpec>> groups, ScalarType type, Device device) {
    List<List<ParameterSpec>> matricesFirst = new ArrayList<>(groups);
    matricesFirst.sort(Comparator.comparing(group -> group.getFirst().shape().size() < 2));
    long count = 0;
    long matrices = 0;
    for (List<ParameterSpec> group : matricesFirst) {
      for (ParameterSpec spec : group) {
        count += spec.numel();
        matrices += spec.shape().size() >= 2 ? spec.numel() : 0;
      }
    }
    decayed = matrices;
    try (Scope scope = Scope.open()) {
      flat = kept.keep(Tensors.empty(type, device, count));
      long offset = 0;
      for (List<ParameterSpec> group : matricesFirst) {
        offset = add(group, offset);
      }
    }
  }

  /**
   * Uninitialised memory for {@code groups} of parameters; each group acts as one {@link Weight},
   * its members stacked along the first dimension.
   */
  static Parameters allocate(List<List<ParameterSpec>> groups, ScalarType type, Device device) {
    return new Parameters(groups, type, device);
  }

  private long add(List<ParameterSpec> group, long start) {
    long offset = start;
    for (ParameterSpec spec : group) {
      Tensor view = flat.narrow(0, offset, spec.numel()).view(spec.shapeArray());
      byName.put(
          spec.name(), new Parameter(spec.name(), spec.shapeArray(), offset, kept.keep(view)));
      offset += spec.numel();
    }
    long[] shape = group.getFirst().shapeArray();
    shape[0] = group.stream().mapToLong(spec -> spec.shape().getFirst()).sum();
    Tensor value = kept.keep(flat.narrow(0, start, offset - start).view(shape));
    weightByFirstName.put(
        group.getFirst().name(), new Weight(weightByFirstName.size(), start, value));
    return offset;
  }

  /** The parameters, in the flat buffer's order. */
  public List<Parameter> all() {
    return List.copyOf(byName.values());
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

  /** The operations' weights, in the flat buffer's order; they cover it without gaps. */
  public List<Weight> weights() {
    return List.copyOf(weightByFirstName.values());
  }

  Weight weight(String firstName) {
    Weight weight = weightByFirstName.get(firstName);
    if (weight == null) {
      throw new TensorException("the model has no weight that begins with " + firstName);
    }
    return weight;
  }

  boolean has(String name) {
    return byName.containsKey(name);
  }

  /** All compute weights, [count()]. */
  public Tensor flat() {
    return flat;
  }

  /** Number of elements. */
  public long count() {
    return flat.numel();
  }

  /**
   * Number of leading elements that weight decay applies to: those of tensors with at least 2
   * dimensions.
   */
  public long decayedCount() {
    return decayed;
  }

  @Override
  public void close() {
    kept.close();
  }
}
