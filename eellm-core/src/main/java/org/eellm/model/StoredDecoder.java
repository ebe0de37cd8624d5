package org.eellm.model;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.Learning;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.parameter.ParameterLayout;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterSpec;

/**
 * A decoder, or a rank's part of one, whose weights lie in mapped files until they are packed: for
 * decoding on CPUs, without libtorch.
 */
public final class StoredDecoder implements DecodingModel {
  private final Part part;
  private final Map<String, WeightRows> weights; // by parameter
  private final List<Adapter> adapters;
  private final boolean hasDraftHead;
  private final Runnable closeFiles;
  private final ModelUsers users = new ModelUsers(this::free);
  private volatile Optional<PackedForm> packed = Optional.empty();

  /**
   * Which model, and what of it.
   *
   * @param parallel the ranks that share these slices out
   * @param logitLens see {@link DecodingModel#logitLens}
   */
  public record Part(
      Architecture architecture,
      List<Slice> slices,
      TensorParallel parallel,
      MatrixQuantization quantization,
      boolean logitLens) {
    public Part {
      slices = List.copyOf(slices);
    }

    public static Part whole(Architecture architecture, MatrixQuantization quantization) {
      return new Part(
          architecture,
          StageLayout.whole(architecture).slices(),
          TensorParallel.singleRank(),
          quantization,
          false);
    }

    public boolean isWhole() {
      return parallel.size() == 1 && slices.equals(StageLayout.whole(architecture).slices());
    }

    /** All of a model's trunk, with the final head after every layer in place of its exits. */
    public static Part logitLens(Architecture of) {
      Architecture all = withLens(of);
      return logitLens(of, StageLayout.whole(all).slices(), TensorParallel.singleRank());
    }

    /**
     * Part of the same.
     *
     * @param slices of {@link #withLens}
     */
    public static Part logitLens(Architecture of, List<Slice> slices, TensorParallel parallel) {
      return new Part(withLens(of), slices, parallel, MatrixQuantization.NONE, true);
    }

    /** An architecture with an exit after every layer in place of its own. */
    public static Architecture withLens(Architecture of) {
      List<Integer> layers = IntStream.range(1, of.model().numLayers()).boxed().toList();
      return new Architecture(of.model(), new ExitLayout(layers, true, false, false, false));
    }

    /** Its parameters; what acts as one stands in one group. */
    public List<List<ParameterSpec>> parameterGroups() {
      if (!logitLens) {
        return ParameterLayout.groups(architecture, slices, Learning.EVERYTHING);
      }
      Architecture stored = new Architecture(architecture.model(), ExitLayout.none());
      List<Slice> parts = slices.stream().map(Part::withFinalHeadOnly).toList();
      return ParameterLayout.groups(stored, parts, Learning.EVERYTHING);
    }

    private static Slice withFinalHeadOnly(Slice slice) {
      return new Slice(slice.firstLayer(), slice.endLayer(), List.of(), slice.hasEmbedding(), true);
    }
  }

  /** The weights as kernels read them. */
  public interface PackedForm extends AutoCloseable {
    @Override
    void close();
  }

  /**
   * A decoder.
   *
   * @param weights where a parameter, or this rank's part of it, lies; those of a draft head, too,
   *     if it is to have one
   * @param adapters that texts may ask for; only where all of the model is here
   * @param closeFiles called when the weights have been packed, or are not needed any more
   */
  public StoredDecoder(
      Part part, Map<String, WeightRows> weights, List<Adapter> adapters, Runnable closeFiles) {
    this.part = part;
    this.weights = Map.copyOf(weights);
    hasDraftHead =
        weights.keySet().stream().anyMatch(name -> name.startsWith(ParameterName.DRAFT_HEAD));
    this.adapters = List.copyOf(adapters);
    this.closeFiles = closeFiles;
  }

  /**
   * A decoder with the weights of a whole one, which is closed with it, or when they have been
   * packed.
   *
   * @param model on the CPU, not quantized
   */
  public static StoredDecoder of(Decoder model, MatrixQuantization quantization) {
    return of(model, quantization, List.of());
  }

  public static StoredDecoder of(
      Decoder model, MatrixQuantization quantization, List<Adapter> adapters) {
    Part part = Part.whole(model.architecture(), quantization);
    Map<String, WeightRows> weights =
        parameterGroups(part, model.draftHead().isPresent()).stream()
            .flatMap(List::stream)
            .collect(Collectors.toMap(ParameterSpec::name, spec -> model.rows(spec.name())));
    return new StoredDecoder(part, weights, adapters, model::close);
  }

  @Override
  public Architecture architecture() {
    return part.architecture();
  }

  @Override
  public boolean logitLens() {
    return part.logitLens();
  }

  @Override
  public List<Slice> slices() {
    return part.slices();
  }

  @Override
  public TensorParallel parallel() {
    return part.parallel();
  }

  @Override
  public MatrixQuantization quantization() {
    return part.quantization();
  }

  @Override
  public List<List<ParameterSpec>> parameterGroups() {
    return parameterGroups(part, hasDraftHead);
  }

  private static List<List<ParameterSpec>> parameterGroups(Part part, boolean hasDraftHead) {
    List<List<ParameterSpec>> drafting =
        hasDraftHead ? ParameterLayout.draftHead(part.architecture().model()) : List.of();
    return Stream.concat(part.parameterGroups().stream(), drafting.stream()).toList();
  }

  @Override
  public Optional<Head> draftHead() {
    return hasDraftHead ? Optional.of(DraftHead.place(part.architecture())) : Optional.empty();
  }

  @Override
  public WeightRows rows(String parameter) {
    if (packed.isPresent()) {
      throw new IllegalStateException("the files are closed: the weights have been packed");
    }
    WeightRows rows = weights.get(parameter);
    if (rows == null) {
      throw new IllegalArgumentException("the model has no parameter " + parameter);
    }
    return rows;
  }

  @Override
  public List<Adapter> adapters() {
    return adapters;
  }

  public Optional<PackedForm> packed() {
    return packed;
  }

  /**
   * Gives up the files for the packed weights.
   *
   * @param form closed with this
   */
  public void pack(PackedForm form) {
    packed = Optional.of(form);
    closeFiles.run();
  }

  @Override
  public ModelUsers users() {
    return users;
  }

  private void free() {
    packed.ifPresentOrElse(PackedForm::close, closeFiles);
  }
}
