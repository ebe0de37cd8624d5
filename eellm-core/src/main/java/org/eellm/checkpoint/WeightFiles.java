package org.eellm.checkpoint;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.eellm.checkpoint.huggingface.GgufModel;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.HuggingFaceFolder;
import org.eellm.checkpoint.huggingface.StoredLayout;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.ShardIndex;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.StoredWeights;
import org.eellm.config.Learning;
import org.eellm.gguf.GgufFile;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The weights of a model folder in the Hugging Face layout, as one view over {@code
 * model.safetensors} or over the shards that {@code model.safetensors.index.json} names; with those
 * of {@code exits.safetensors} or its shards, if exits lie beside the trunk. Or those of a GGUF
 * file.
 */
public final class WeightFiles implements StoredWeights {
  public static final String SINGLE = single(Learning.EVERYTHING);
  public static final String INDEX = index(Learning.EVERYTHING);

  private static final Logger LOG = LoggerFactory.getLogger(WeightFiles.class);

  private final Path folder;
  private final @Nullable HuggingFaceConfig config;
  private final List<Runnable> closers;
  private final SequencedMap<String, StoredTensor> tensors;

  private WeightFiles(
      Path folder,
      @Nullable HuggingFaceConfig config,
      List<Runnable> closers,
      SequencedMap<String, StoredTensor> tensors) {
    this.folder = folder;
    this.config = config;
    this.closers = closers;
    this.tensors = Collections.unmodifiableSequencedMap(tensors);
  }

  /** The file of what a run changes: of a whole model, of heads or of low-rank changes alone. */
  static String single(Learning learning) {
    return stem(learning) + ".safetensors";
  }

  /** The file that names the shards of the same. */
  static String index(Learning learning) {
    return single(learning) + ".index.json";
  }

  /** One of the shards of the same. */
  static String shard(Learning learning, int part, int parts) {
    return "%s-%05d-of-%05d.safetensors".formatted(stem(learning), part, parts);
  }

  private static String stem(Learning learning) {
    return learning instanceof Learning.Part part
        ? switch (part) {
          case EVERYTHING -> "model";
          case EXITS, EXITS_FROM_FINAL_HEAD -> "exits";
          case DRAFT_HEAD -> "draft_head";
        }
        : "adapter_model";
  }

  /**
   * Maps all of a folder's weights, under our names whatever family they are of. Where both layouts
   * are present the single file is taken, as other tools do.
   *
   * @throws CheckpointException if the folder has no weights, or a file is missing or malformed
   */
  public static WeightFiles open(Path folder) {
    return openStored(folder).withOurNames();
  }

  /** As {@link #open(Path)}, but each tensor as the files have it. */
  public static WeightFiles openStored(Path folder) {
    WeightFiles own = openPart(folder, Learning.EVERYTHING);
    boolean beside =
        ModelFiles.has(folder, single(Learning.EXITS))
            || ModelFiles.has(folder, index(Learning.EXITS));
    return beside ? own.withHeads(folder) : own;
  }

  /**
   * Maps all of a folder's weights, with the heads of another folder in place of its own.
   *
   * @throws CheckpointException if a folder has no weights, or a file is missing or malformed
   */
  static WeightFiles open(Path folder, Path heads) {
    return openPart(folder, Learning.EVERYTHING).withOurNames().withoutHeads().withHeads(heads);
  }

  /** The parameters that the tensors of a folder's family are; closes these if they are not. */
  private WeightFiles withOurNames() {
    if (GgufFile.isOne(folder) || !ModelFiles.has(folder, HuggingFaceConfig.CONFIG)) {
      return this;
    }
    try {
      HuggingFaceFolder files = HuggingFaceFolder.read(folder);
      SequencedMap<String, StoredTensor> parameters = new LinkedHashMap<>();
      new StoredLayout(files.family().tensors(), files.config().architecture())
          .parameters(folder, tensors)
          .forEach((name, origin) -> parameters.put(name, origin.stored()));
      return new WeightFiles(folder, files.config(), closers, parameters);
    } catch (RuntimeException failure) {
      close();
      throw failure;
    }
  }

  private WeightFiles withoutHeads() {
    SequencedMap<String, StoredTensor> trunk = new LinkedHashMap<>(tensors);
    trunk.keySet().removeIf(name -> name.startsWith(HeadFiles.PREFIX));
    return new WeightFiles(folder, config, closers, trunk);
  }

  /** These weights and a folder's heads; closes these if they cannot be had. */
  private WeightFiles withHeads(Path heads) {
    List<Runnable> all = new ArrayList<>(closers);
    try {
      WeightFiles exits = openPart(heads, Learning.EXITS);
      all.addAll(exits.closers);
      SequencedMap<String, StoredTensor> both = new LinkedHashMap<>(tensors);
      addAll(exits.folder, exits.tensors, both);
      return new WeightFiles(folder, config, all, both);
    } catch (RuntimeException failure) {
      all.forEach(Runnable::run);
      throw failure;
    }
  }

  /** These weights, changed as an adapter of the model says, in float32; closing them closes it. */
  WeightFiles changedBy(AdapterFiles adapter) {
    List<Runnable> all = new ArrayList<>(closers);
    all.add(adapter::close);
    SequencedMap<String, StoredTensor> changed = new LinkedHashMap<>(tensors);
    changed.replaceAll(
        (name, stored) -> adapter.changes(name) ? adapter.changed(folder, name, stored) : stored);
    return new WeightFiles(folder, config, all, changed);
  }

  /** Maps the heads alone that lie in a folder. */
  public static WeightFiles openHeads(Path folder) {
    return openPart(folder, Learning.EXITS);
  }

  private static WeightFiles openPart(Path folder, Learning learning) {
    if (learning == Learning.EVERYTHING && GgufFile.isOne(folder)) {
      GgufModel model = GgufModel.open(folder);
      return new WeightFiles(folder, model.config(), List.of(model::close), model.tensors());
    }
    String single = single(learning);
    String index = index(learning);
    if (ModelFiles.has(folder, single)) {
      if (ModelFiles.has(folder, index)) {
        LOG.warn("{}: reading {}, not the shards of {}", folder, single, index);
      }
      SafetensorsFile file = SafetensorsFile.open(ModelFiles.file(folder, single));
      return new WeightFiles(folder, null, List.of(file::close), file.tensors());
    }
    if (ModelFiles.has(folder, index)) {
      return openShards(folder, index);
    }
    throw new CheckpointException(
        "%s: has neither %s nor %s; give a folder with safetensors weights"
            .formatted(folder, single, index));
  }

  private static WeightFiles openShards(Path folder, String name) {
    ShardIndex index = ShardIndex.read(folder, name);
    List<Runnable> closers = new ArrayList<>();
    SequencedMap<String, StoredTensor> tensors = new LinkedHashMap<>();
    try {
      for (Path shard : index.namesByShard().keySet()) {
        SafetensorsFile file = SafetensorsFile.open(shard);
        closers.add(file::close);
        index.requireTensors(shard, file.tensors().keySet());
        addAll(file.path(), file.tensors(), tensors);
      }
      return new WeightFiles(folder, null, closers, tensors);
    } catch (RuntimeException failure) {
      closers.forEach(Runnable::run);
      throw failure;
    }
  }

  private static void addAll(
      Path file, Map<String, StoredTensor> more, Map<String, StoredTensor> tensors) {
    for (Map.Entry<String, StoredTensor> tensor : more.entrySet()) {
      if (tensors.putIfAbsent(tensor.getKey(), tensor.getValue()) != null) {
        throw new CheckpointException(
            "%s: tensor '%s' is in another shard too; keep one of them"
                .formatted(file, tensor.getKey()));
      }
    }
  }

  @Override
  public Path folder() {
    return folder;
  }

  @Override
  public SequencedMap<String, StoredTensor> tensors() {
    return tensors;
  }

  /** The configuration of the folder. */
  HuggingFaceConfig config() {
    return config == null ? HuggingFaceConfig.read(folder) : config;
  }

  /**
   * The tensor called {@code name}.
   *
   * @throws CheckpointException if there is none
   */
  public StoredTensor tensor(String name) {
    StoredTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new CheckpointException("%s: the weights have no tensor '%s'".formatted(folder, name));
    }
    return tensor;
  }

  /** Unmaps the files; the tensors' bytes cannot be reached any more. */
  @Override
  public void close() {
    closers.forEach(Runnable::run);
  }
}
