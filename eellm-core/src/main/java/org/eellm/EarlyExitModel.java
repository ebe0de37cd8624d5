package org.eellm;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.config.TrainConfig.Device;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.PooledState;
import org.eellm.decode.WarmUp;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.sample.GrammarMasks;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.Detokenizer;
import org.eellm.decode.token.TextStream;
import org.eellm.grammar.GrammarSource;
import org.eellm.kernel.machine.Threads;

/**
 * A model in memory that generates texts, with a thread of its own. Threads may share it: it writes
 * the texts of all callers in one batch, and a text depends on its own prompt and {@link Decoding}
 * alone.
 *
 * <p>{@link #close} may be called at any time, from any thread, more than once. It ends the texts
 * in work (see {@link Generation}), waits until the model's thread has ended, and frees the memory.
 * After it, all that would compute throws an {@link IllegalStateException}.
 */
public final class EarlyExitModel implements AutoCloseable {
  private final LoadedModel model;
  private final Engine engine;
  private final GrammarMasks grammars;
  private final Object closing = new Object();
  private boolean closed; // with closing

  private EarlyExitModel(LoadedModel model, Engine engine) {
    this.model = model;
    this.engine = engine;
    grammars = new GrammarMasks(model.tokenizer());
  }

  /**
   * Loads a model with all defaults; see {@link #at}.
   *
   * @throws SetupException if Java lacks an option
   * @throws org.eellm.checkpoint.safetensors.CheckpointException if it cannot be read
   */
  public static EarlyExitModel load(Path path) {
    return at(path).load();
  }

  /**
   * A model that is to be loaded in another way than by default.
   *
   * <pre>{@code
   * EarlyExitModel.at(Path.of("llama-3b")).heads(Path.of("tuned")).quantized(Quantization.INT8).load()
   * }</pre>
   *
   * @param path a model folder, a GGUF file, a checkpoint, or a run's output, of which the newest
   *     checkpoint is taken
   */
  public static Loading at(Path path) {
    return new Loading(path);
  }

  /**
   * How a model is loaded; what is not said is as {@code eellm generate} has it. How it draws
   * tokens is up to each {@link Decoding}, and not to its {@code generation_config.json}.
   */
  public static final class Loading {
    private final Path path;
    private Optional<Path> heads = Optional.empty();
    private Optional<Path> adapter = Optional.empty();
    private final SequencedMap<String, Path> beside = new LinkedHashMap<>();
    private Optional<DataType> dtype = Optional.empty();
    private Optional<Quantization> quantization = Optional.empty();
    private Quantization cacheQuantization = Quantization.NONE;
    private Device device = Device.CPU;
    private int threads = Threads.count();
    private int batchSize = Limits.BATCH_SIZE;
    private int maxQueued = Limits.MAX_QUEUED;
    private Optional<Integer> cacheTokens = Optional.empty();
    private boolean warmsUp;

    private Loading(Path path) {
      this.path = path;
    }

    /** Takes the exits from another folder: of heads, or the output of a run that tuned them. */
    public Loading heads(Path folder) {
      heads = Optional.of(folder);
      return this;
    }

    /** Changes matrices as an adapter says: a folder in PEFT's layout, or a run that tuned one. */
    public Loading adapter(Path folder) {
      adapter = Optional.of(folder);
      return this;
    }

    /**
     * Has an adapter beside the model, on CPUs, for texts that ask for it ({@link
     * Decoding#withAdapter}); may be called for several.
     */
    public Loading adapter(String name, Path folder) {
      beside.put(name, folder);
      return this;
    }

    /** Computes in a number format; the model's own by default. */
    public Loading dtype(DataType type) {
      dtype = Optional.of(type);
      return this;
    }

    /** Keeps the matrices in fewer bits; as a GGUF file has them, or not at all, by default. */
    public Loading quantized(Quantization format) {
      quantization = Optional.of(format);
      return this;
    }

    /** Keeps keys and values in 8 bits, on CPUs; as the model computes by default. */
    public Loading cacheQuantized(Quantization format) {
      cacheQuantization = format;
      return this;
    }

    /** Computes on a device; a GPU needs libtorch. */
    public Loading device(Device kind) {
      device = kind;
      return this;
    }

    /** Computes with so many threads; 0 for one a core, which is the default. */
    public Loading threads(int count) {
      threads = count;
      return this;
    }

    /** Writes so many texts at once; others wait. */
    public Loading batchSize(int count) {
      batchSize = count;
      return this;
    }

    /** Lets so many texts wait; {@link #generate} refuses more. */
    public Loading maxQueued(int count) {
      maxQueued = count;
      return this;
    }

    /** Has room for keys and values of so many tokens, all texts together. */
    public Loading cacheTokens(int count) {
      cacheTokens = Optional.of(count);
      return this;
    }

    /**
     * Has Java compile what decodes while the model is read, by a tiny model that decodes on a
     * thread of its own, where there is a core to spare. For programs that write one text and end;
     * others call {@link EarlyExitModel#warmUp} once they have the model.
     */
    public Loading warmUp() {
      warmsUp = true;
      return this;
    }

    /**
     * Loads it.
     *
     * @throws SetupException if Java lacks an option, or the class path libtorch for a GPU
     * @throws org.eellm.checkpoint.safetensors.CheckpointException if it cannot be read
     */
    public EarlyExitModel load() {
      switch (device) {
        case CPU -> JvmSetup.requireDecoding();
        case CUDA -> JvmSetup.requireTraining();
      }
      AtomicBoolean loading = new AtomicBoolean(true);
      if (warmsUp && device == Device.CPU && Runtime.getRuntime().availableProcessors() > 1) {
        Thread.ofPlatform().name("eellm-warm-up").daemon().start(() -> WarmUp.run(loading::get));
      }
      int before = Threads.count(); // which the calling thread has
      Threads.set(threads);
      try {
        ModelFolder own = ModelFolder.resolve(path);
        ModelFolder headed = heads.map(own::withHeads).orElse(own);
        ModelFolder files = beside(adapter.map(headed::withAdapter).orElse(headed));
        LoadedModel model =
            LoadedModel.load(
                files, stored -> files.decoder(adapted(stored), device, rounding(files)));
        return started(model);
      } finally {
        Threads.set(before);
        loading.set(false);
      }
    }

    private ModelFolder beside(ModelFolder own) {
      ModelFolder files = own;
      for (Map.Entry<String, Path> each : beside.entrySet()) {
        files = files.withAdapter(each.getKey(), each.getValue());
      }
      return files;
    }

    private EarlyExitModel started(LoadedModel model) {
      try {
        Limits limits = model.limits().withBatchSize(batchSize).withMaxQueued(maxQueued);
        Limits all = cacheTokens.map(limits::withCacheTokens).orElse(limits);
        return new EarlyExitModel(model, Engine.start(model.decoder(), all));
      } catch (RuntimeException e) {
        model.close();
        throw e;
      }
    }

    private Architecture adapted(Architecture stored) {
      return dtype.map(stored::withDtype).orElse(stored);
    }

    private MatrixQuantization rounding(ModelFolder files) {
      if (device == Device.CUDA && cacheQuantization != Quantization.NONE) {
        throw new ConfigException(
            "cacheQuantized(%s): GPUs keep keys and values in the model's format; leave it out"
                .formatted(cacheQuantization));
      }
      return quantization
          .map(MatrixQuantization::of)
          .orElseGet(() -> device == Device.CPU ? files.quantization() : MatrixQuantization.NONE)
          .withCache(cacheQuantization);
    }
  }

  /**
   * Begins to continue a text, and returns at once.
   *
   * @param prompt at least one character, unless the tokenizer puts a token in front of every text
   * @throws GenerateException if the prompt is empty, or does not fit the model's context
   * @throws org.eellm.config.ConfigException if the model lacks what the decoding needs
   * @throws org.eellm.grammar.GrammarException if the decoding's grammar is none
   * @throws RejectedExecutionException if as many texts wait as may
   * @throws IllegalStateException if this is closed
   */
  public Generation generate(String prompt, Decoding decoding) {
    return generate(model.prompt(prompt, "the prompt"), decoding);
  }

  /**
   * As {@link #generate(String, Decoding)}, from tokens, which nothing is put in front of.
   *
   * @param prompt ids, at least one
   */
  public Generation generate(List<Integer> prompt, Decoding decoding) {
    int room = Math.max(1, contextLength() - prompt.size()); // the engine refuses what has none
    int maxTokens = Math.min(decoding.maxTokens(), room);
    Generation generation =
        new Generation(
            new TextStream(detokenizer(prompt, decoding), decoding.stop()),
            model.endTokens(),
            maxTokens);
    Request request =
        new Request(prompt, maxTokens, model.endTokens(), decoding.method(), sampler(decoding))
            .withAdapter(number(decoding.adapter()));
    Optional<RequestHandle> handle = engine.submit(request, generation.listener());
    if (handle.isEmpty()) {
      throw new RejectedExecutionException(
          "%d texts wait already, which is as many as may; wait for some of them, or load the model with a larger maxQueued"
              .formatted(engine.maxQueued()));
    }
    generation.startedAs(handle.get());
    return generation;
  }

  private Sampler sampler(Decoding decoding) {
    Decoding.Sampling sampling = decoding.sampling();
    return decoding
        .grammar()
        .map(source -> sampling.sampler(grammars.constraint(source, model.endTokens())))
        .orElseGet(sampling::sampler);
  }

  private Detokenizer detokenizer(List<Integer> prompt, Decoding decoding) {
    return model
        .detokenizer(prompt)
        .naming(decoding.grammar().map(GrammarSource::specials).orElse(Set.of()), tokenizer());
  }

  /** An adapter's number among the model's, from 1; 0 for none. */
  private int number(String adapter) {
    List<String> names = model.adapters();
    if (!adapter.isEmpty() && !names.contains(adapter)) {
      throw new ConfigException(
          "withAdapter(%s): the model was loaded with %s; use one of them, or load the model with adapter(name, folder)"
              .formatted(adapter, names));
    }
    return names.indexOf(adapter) + 1;
  }

  /** The text that follows a prompt, for which this waits. */
  public String complete(String prompt, Decoding decoding) {
    return generate(prompt, decoding).text();
  }

  /**
   * How tokens leave as the model's own calibration says, which {@code eellm calibrate} stored.
   *
   * @throws ConfigException if it has none
   */
  public Decoding calibrated() {
    return Decoding.policy(
        model
            .calibration()
            .orElseThrow(
                () ->
                    new ConfigException(
                        "%s: is not there; make it with eellm calibrate, or use Decoding.threshold"
                            .formatted(model.calibrationFile())))
            .policy());
  }

  /**
   * A vector for a text: what becomes of the hidden states of its tokens after a layer, before any
   * norm. The layers above do not run.
   *
   * @param layer from 1 to {@link #layers}
   * @return [{@link #hiddenSize}]
   * @throws GenerateException if the text is empty, or does not fit the model's context
   * @throws org.eellm.config.SettingException if the model has no such layer
   * @throws CancellationException if the thread is interrupted, which cancels the work
   * @throws IllegalStateException if this is closed
   */
  public float[] hiddenState(String text, int layer, Pooling pooling) {
    return hiddenStates(List.of(text), layer, pooling).getFirst();
  }

  /** As {@link #hiddenState}, for several texts, which pass the model together. */
  public List<float[]> hiddenStates(List<String> texts, int layer, Pooling pooling) {
    return states(texts, layer, pooling).stream().map(PooledState::vector).toList();
  }

  /**
   * As {@link #hiddenStates}, scaled to length 1.
   *
   * @throws GenerateException also if hidden states are not numbers
   */
  public List<float[]> embeddings(List<String> texts, int layer, Pooling pooling) {
    return states(texts, layer, pooling).stream().map(PooledState::unit).toList();
  }

  private List<PooledState> states(List<String> texts, int layer, Pooling pooling) {
    List<CompletableFuture<Integer>> ends = new ArrayList<>();
    List<PooledState> states = new ArrayList<>();
    try {
      for (String text : texts) {
        List<Integer> ids = model.prompt(text, "the text");
        states.add(
            switch (pooling) {
              case LAST -> PooledState.last(hiddenSize(), ids.size());
              case MEAN -> PooledState.mean(hiddenSize(), ids.size());
            });
        ends.add(engine.readHiddenStates(ids, layer, states.getLast()));
      }
      for (CompletableFuture<Integer> end : ends) {
        await(end);
      }
      return states;
    } catch (RuntimeException e) {
      ends.forEach(end -> end.cancel(false));
      throw e;
    }
  }

  private static void await(CompletableFuture<Integer> end) {
    try {
      end.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("interrupted while waiting; the work is cancelled");
    } catch (ExecutionException e) {
      throw e.getCause() instanceof RuntimeException cause
          ? cause
          : new IllegalStateException(e.getCause());
    }
  }

  /** Where the model lies: the folder or file itself, where a run's output was given. */
  public Path path() {
    return model.folder();
  }

  /** Its shape and exits. */
  public Architecture architecture() {
    return model.architecture();
  }

  /** Turns text into ids, and ids into text. */
  public Tokenizer tokenizer() {
    return model.tokenizer();
  }

  /** Number of layers. */
  public int layers() {
    return architecture().model().numLayers();
  }

  /** The layers that have an exit, from 1, ascending. */
  public List<Integer> exits() {
    return architecture().exits().layers();
  }

  /** Numbers of a hidden state. */
  public int hiddenSize() {
    return architecture().model().hiddenSize();
  }

  /** Tokens that a prompt and its continuation may have together. */
  public int contextLength() {
    return model.context();
  }

  /**
   * Writes a text that nobody sees, and waits for it: a process's first tokens are slow, until Java
   * has compiled what makes them.
   *
   * @param limit no further token is begun after so long
   */
  public void warmUp(Duration limit) {
    engine.warmUp(limit);
  }

  /** Whether it takes texts: false once it is closed, or could not go on. */
  public boolean isOpen() {
    return engine.isOpen();
  }

  /** The texts and memory in use. */
  public Load inUse() {
    Engine.Status status = engine.status();
    return new Load(
        status.running(), status.queued(), status.cacheTokensInUse(), status.cacheTokens());
  }

  /**
   * The texts and memory in use, for metrics.
   *
   * @param running texts that are being written
   * @param waiting texts that wait for room
   * @param tokens whose keys and values are kept
   * @param mostTokens for which there is room
   */
  public record Load(int running, int waiting, int tokens, int mostTokens) {}

  @Override
  public void close() {
    synchronized (closing) {
      if (!closed) {
        closed = true;
        engine.close();
        model.close();
      }
    }
  }
}
