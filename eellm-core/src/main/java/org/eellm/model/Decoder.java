package org.eellm.model;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.Learning;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.Positions;
import org.eellm.config.Quantization;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.ParameterLayout;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterSpec;
import org.eellm.model.parameter.Parameters;
import org.eellm.model.parameter.Sharding;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.TensorException;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.KeyStarts;

/**
 * A decoder with early exits as an explicit chain: an embedding, {@code 2 numLayers} residual
 * branches (attention and MLP in turn), and heads that tap the stream between them (EE-LLM, arXiv
 * 2312.04916, section 2); or a rank's part of one, in one or more {@link Stage}s.
 */
public final class Decoder implements DecodingModel {
  private static final String EXITS = "exits.";

  private final Architecture architecture;
  private final Learning learning;
  private final boolean logitLens;
  private final Quantization quantization;
  private final TensorParallel parallel;
  private final ContextParallel ring;
  private final ModelUsers users = new ModelUsers(this::free);
  private final Parameters parameters;
  private final List<List<ParameterSpec>> groups;
  private final List<Stage> stages;
  private final List<Branch> trunk;
  private final List<Head> allHeads;
  private final List<HeadLayers> heads;
  private final Optional<HeadLayers> finalHead;
  private final Optional<DraftHead> draftLayers;
  private final Optional<TokenEmbedding> embedding;
  private final Map<LayerType, Rope> ropes;
  private final DecodeContextFactory rowFactors;

  private Decoder(
      Architecture architecture,
      boolean logitLens,
      Learning learning,
      Quantization quantization,
      DecoderShard shard,
      Device device) {
    this.architecture = architecture;
    this.logitLens = logitLens;
    this.quantization = quantization;
    this.learning = learning;
    parallel = shard.parallel();
    ring = shard.ring();
    ModelConfig model = architecture.model();
    ScalarType type = scalarType(model.dtype());
    groups =
        logitLens
            ? ParameterLayout.groups(
                trunk(architecture), List.of(whole(trunk(architecture))), learning)
            : ParameterLayout.groups(architecture, List.copyOf(shard.slices().values()), learning);
    parameters =
        Parameters.allocate(
            groups,
            name -> quantization == Quantization.NONE && ParameterLayout.learns(name, learning),
            quantization,
            parallel,
            new Parameters.Memory(type, device, shard.multiple()));
    embedding =
        optional(ParameterName.TOKENS.toString())
            .map(
                tokens ->
                    new TokenEmbedding(
                        tokens,
                        optional(ParameterName.POSITIONS.toString()),
                        type,
                        model.embeddingScale(),
                        model.hiddenDropout(),
                        parallel));
    ropes = ropes(model, device);
    allHeads = Head.of(architecture);
    rowFactors = new DecodeContextFactory(model.attention(0).shard(parallel.size()), type, device);
    finalHead =
        parameters.has("model.norm.weight") ? Optional.of(createFinalHead()) : Optional.empty();
    draftLayers =
        learning == Learning.DRAFT_HEAD ? Optional.of(createDraftHead()) : Optional.empty();
    List<Stage> all = new ArrayList<>();
    shard.slices().forEach((index, slice) -> all.add(stage(index, slice)));
    stages = List.copyOf(all);
    trunk = stages.stream().flatMap(stage -> stage.trunk().stream()).toList();
    heads = stages.stream().flatMap(stage -> stage.heads().stream()).toList();
  }

  /** A decoder with uninitialised parameters: {@link #initialize} them or load a checkpoint. */
  public static Decoder allocate(Architecture architecture, Device device) {
    return allocate(architecture, Quantization.NONE, device);
  }

  /** An uninitialised decoder to generate with, perhaps quantizing matrices as they are filled. */
  public static Decoder allocate(
      Architecture architecture, Quantization quantization, Device device) {
    return allocate(
        architecture, Learning.EVERYTHING, quantization, DecoderShard.whole(architecture), device);
  }

  /**
   * A decoder without exits of its own, whose final norm and output matrix also read the stream
   * after every layer below the last, as exits there, with uninitialised parameters.
   *
   * @param of whose exits are left out
   */
  public static Decoder logitLens(Architecture of, Device device) {
    List<Integer> layers = IntStream.range(1, of.model().numLayers()).boxed().toList();
    Architecture all =
        new Architecture(of.model(), new ExitLayout(layers, true, false, false, false));
    try (Scope scope = Scope.open()) {
      return new Decoder(
          all, true, Learning.EVERYTHING, Quantization.NONE, DecoderShard.whole(all), device);
    }
  }

  private static Slice whole(Architecture architecture) {
    return StageLayout.whole(architecture).slices().getFirst();
  }

  private static Architecture trunk(Architecture architecture) {
    return new Architecture(architecture.model(), ExitLayout.none());
  }

  /**
   * A part of a decoder, with uninitialised parameters.
   *
   * @param learning which of the parameters learn; none if quantized
   * @param shard the part, of what {@code learning} needs
   */
  public static Decoder allocate(
      Architecture architecture,
      Learning learning,
      Quantization quantization,
      DecoderShard shard,
      Device device) {
    try (Scope scope = Scope.open()) {
      return new Decoder(architecture, false, learning, quantization, shard, device);
    }
  }

  /** Those of the types of layers that rotate heads. */
  private static Map<LayerType, Rope> ropes(ModelConfig model, Device device) {
    Map<Positions, Rope> made = new HashMap<>(); // types may share one
    Map<LayerType, Rope> ropes = new EnumMap<>(LayerType.class);
    for (LayerType type : model.layerTypes()) {
      Positions positions = model.positions(type);
      if (positions.rotary()) {
        ropes.put(
            type,
            made.computeIfAbsent(
                positions, each -> new Rope(each, scalarType(model.dtype()), device)));
      }
    }
    return ropes;
  }

  private Optional<Weight> optional(String name) {
    return parameters.has(name) ? Optional.of(parameters.weight(name)) : Optional.empty();
  }

  private Stage stage(int index, Slice slice) {
    List<Branch> trunk = new ArrayList<>();
    for (int layer = slice.firstLayer(); layer < slice.endLayer(); layer++) {
      trunk.addAll(layer(ParameterName.layer(layer), layer));
    }
    List<Integer> exits = architecture.exits().layers();
    List<HeadLayers> heads = new ArrayList<>();
    for (int layer : slice.exits()) {
      heads.add(exitHead(allHeads.get(exits.indexOf(layer))));
    }
    if (slice.hasFinalHead()) {
      heads.add(finalHead.orElseThrow());
    }
    return new Stage(index, slice, trunk, heads);
  }

  private HeadLayers createFinalHead() {
    ModelConfig model = architecture.model();
    return new HeadLayers(
        allHeads.getLast(),
        List.of(),
        Norm.of(true, model.norms(), parameters, "model.norm"),
        outputMatrix(finalMatrix()));
  }

  private DraftHead createDraftHead() {
    int slot = architecture.model().numLayers() + DraftHead.place(architecture).index();
    return DraftHead.of(
        architecture, parameters, layer(DraftHead.layerName(), slot), outputMatrix(finalMatrix()));
  }

  private OutputMatrix outputMatrix(Weight weight) {
    return OutputMatrix.of(architecture.model(), weight, parallel);
  }

  private Weight finalMatrix() {
    return architecture.model().tieEmbeddings()
        ? embedding().tokens()
        : parameters.weight(ParameterName.OUTPUT.toString());
  }

  private List<Branch> layer(String name, int slot) {
    ModelConfig model = architecture.model();
    return List.of(
        AttentionBranch.of(model, learning, parameters, name, slot),
        model.hasExperts(slot)
            ? ExpertsBranch.of(model, parameters, name, slot)
            : MlpBranch.of(model, learning, parameters, name, name + ".mlp", slot));
  }

  private HeadLayers exitHead(Head head) {
    if (logitLens) {
      HeadLayers last = finalHead.orElseThrow();
      return new HeadLayers(head, List.of(), last.norm(), last.output());
    }
    ModelConfig model = architecture.model();
    ExitLayout exits = architecture.exits();
    int layer = head.layer();
    int slot = model.numLayers() + head.index();
    String name = EXITS + layer;
    List<Branch> branches = new ArrayList<>();
    if (exits.mlp()) {
      String normed = ParameterName.layer(layer - 1);
      int site = slot + exits.layers().size(); // beyond the sites of all layers and blocks
      branches.add(MlpBranch.of(model, learning, parameters, normed, name + ".mlp", site));
    }
    if (exits.block()) {
      branches.addAll(layer(name + ".block", slot));
    }
    return new HeadLayers(
        head,
        List.copyOf(branches),
        Norm.of(exits.norm(), model.norms(), parameters, name + ".norm"),
        outputMatrix(
            exits.tieOutput() ? finalMatrix() : parameters.weight(name + ".lm_head.weight")));
  }

  /** libtorch's name of a number format. */
  public static ScalarType scalarType(DataType type) {
    return switch (type) {
      case FLOAT32 -> ScalarType.Float;
      case BFLOAT16 -> ScalarType.BFloat16;
    };
  }

  /**
   * Draws initial weights: each whole parameter from a stream of its own, so that they depend on
   * the seed and its name alone, not on what ranks hold.
   */
  public void initialize(long seed) {
    initialize(seed, _ -> true);
  }

  /** As {@link #initialize(long)}, but of some parameters alone, by their names. */
  public void initialize(long seed, Predicate<String> names) {
    for (ParameterSpec spec : groups.stream().flatMap(List::stream).toList()) {
      if (names.test(spec.name())) {
        try (Scope scope = Scope.open()) {
          Tensor whole = spec.draw(architecture.model(), seed);
          parameters.get(spec.name()).fill(whole, parallel.rank(), parallel.size());
        }
      }
    }
  }

  /** Lets the draft head begin ({@link DraftHead}). */
  public void startDraftHead(long seed) {
    DraftHead.start(architecture.model(), parameters, seed);
  }

  /** The model's shape. */
  @Override
  public Architecture architecture() {
    return architecture;
  }

  public Learning learning() {
    return learning;
  }

  /** The ranks that share this part of the model out between them. */
  @Override
  public TensorParallel parallel() {
    return parallel;
  }

  /** The ranks that share sequences in training. */
  public ContextParallel ring() {
    return ring;
  }

  public static Set<String> parameterNames(Architecture architecture) {
    return ParameterSpec.of(architecture).stream()
        .map(ParameterSpec::name)
        .collect(Collectors.toUnmodifiableSet());
  }

  /**
   * Whether this stage of the pipeline is the one to count a parameter, or store it, of those that
   * have it: a tied embedding stands where the model begins, an output matrix where it ends.
   */
  public boolean isMainReplicaStage(String name) {
    ParameterName parameter = ParameterName.parse(name);
    if (parameter.equals(ParameterName.TOKENS)) {
      return stages.stream().anyMatch(stage -> stage.slice().hasEmbedding());
    }
    return !parameter.equals(ParameterName.OUTPUT)
        || stages.stream().anyMatch(stage -> stage.slice().hasFinalHead());
  }

  /** The parameter that several stages may multiply with: the embedding or the output matrix. */
  public String sharedOutputWeight() {
    return architecture.model().tieEmbeddings()
        ? ParameterName.TOKENS.toString()
        : ParameterName.OUTPUT.toString();
  }

  /**
   * Whether this rank is the one to count its part of a parameter, or store it, of those that have
   * the same part, data-parallel ranks apart.
   */
  public boolean isMainReplica(String name, Sharding split) {
    return isMainReplicaStage(name) && (split != Sharding.REPLICATED || parallel.rank() == 0);
  }

  public Parameters parameters() {
    return parameters;
  }

  @Override
  public boolean logitLens() {
    return logitLens;
  }

  @Override
  public List<Slice> slices() {
    return stages.stream().map(Stage::slice).toList();
  }

  @Override
  public MatrixQuantization quantization() {
    return new MatrixQuantization(quantization, quantization);
  }

  @Override
  public List<List<ParameterSpec>> parameterGroups() {
    return groups;
  }

  /**
   * Where a parameter lies.
   *
   * @throws TensorException if the model is not on the CPU
   */
  @Override
  public WeightRows rows(String parameter) {
    if (!isOnCpu()) {
      throw new TensorException(parameter + " lies on another device than the CPU");
    }
    if (quantization != Quantization.NONE) {
      throw new TensorException(
          parameter + " has been quantized; a StoredDecoder rounds whole ones");
    }
    try (Scope _ = Scope.open()) {
      Parameter found = parameters.get(parameter);
      Tensor value = found.value();
      int rows = value.dim() > 1 ? Math.toIntExact(value.size(0)) : 1;
      int width = Math.toIntExact(value.numel() / rows);
      return StoredRows.of(
          switch (Tensors.scalarType(value)) {
            case Float -> StoredRows.Type.FLOAT32;
            case BFloat16 -> StoredRows.Type.BFLOAT16;
            default -> throw new TensorException(parameter + " is " + Tensors.scalarType(value));
          },
          value.data_ptr().address(),
          rows,
          width);
    }
  }

  /** The parts of the model that are here, in the order the stream goes through them. */
  public List<Stage> stages() {
    return stages;
  }

  /** The residual branches here: attention and MLP of layer 1, of layer 2, and so on. */
  public List<Branch> trunk() {
    return trunk;
  }

  @Override
  public List<Head> allHeads() {
    return allHeads;
  }

  @Override
  public Optional<Head> draftHead() {
    return draftLayers.map(DraftHead::head);
  }

  public Optional<DraftHead> draftLayers() {
    return draftLayers;
  }

  /** The heads here, in order of depth. */
  public List<HeadLayers> heads() {
    return heads;
  }

  /** The final head, where it is among {@link #heads} or teaches them. */
  public Optional<HeadLayers> finalHead() {
    return finalHead;
  }

  /** Whether its parameters are in the CPU's memory. */
  public boolean isOnCpu() {
    try (Scope _ = Scope.open()) {
      return device().is_cpu();
    }
  }

  public Device device() {
    return parameters.flat().device();
  }

  /** The number format of weights and activations. */
  public ScalarType scalarType() {
    return Tensors.scalarType(parameters.flat());
  }

  /**
   * The branches' context for a batch of whole sequences, of which this rank may have parts.
   *
   * @param sequence tokens of a whole one
   * @param starts of the tokens that are here
   * @param dropout absent in evaluation
   * @param retained owns the context's tensors
   */
  public ForwardContext context(
      long batch,
      long sequence,
      KeyStarts starts,
      Dropout dropout,
      boolean recomputeAttention,
      RetainedTensors retained) {
    return new ForwardContext(
        batch,
        ring.local(sequence),
        starts,
        angles(sequence, retained),
        dropout,
        recomputeAttention && ring.size() == 1, // The ring keeps no probabilities.
        parallel,
        ring);
  }

  private Map<LayerType, Rope.Angles> angles(long sequence, RetainedTensors retained) {
    Map<LayerType, Rope.Angles> angles = new EnumMap<>(LayerType.class);
    ropes.forEach(
        (type, rope) -> angles.put(type, rope.first(sequence).local(ring).retain(retained)));
    return angles;
  }

  /**
   * The embedding, where the model begins, or where a tied output matrix needs it.
   *
   * @throws java.util.NoSuchElementException on other stages of a pipeline
   */
  public TokenEmbedding embedding() {
    return embedding.orElseThrow();
  }

  /** The branches' context for a block's tokens at positions, int64 [n]. */
  public DecodeContext decodeContext(Tensor positionIds) {
    return rowFactors.at(positionIds, ropes);
  }

  @Override
  public ModelUsers users() {
    return users;
  }

  private void free() {
    rowFactors.close();
    Set.copyOf(ropes.values()).forEach(Rope::close);
    parameters.close();
  }
}
