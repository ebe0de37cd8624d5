package org.eellm.cli.generate;

import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.eellm.chat.ChatTemplate;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.ModelOptions;
import org.eellm.cli.option.OptionsFile;
import org.eellm.cli.option.StopSignals;
import org.eellm.config.ConfigException;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.TensorParallelEngine;
import org.eellm.decode.request.Limits;
import org.eellm.decode.sample.SamplingDefaults;
import org.eellm.decode.sample.SamplingParams;
import org.eellm.distributed.World;
import org.eellm.serve.ServedModel;
import org.eellm.serve.Server;
import org.eellm.serve.ServerOptions;
import org.eellm.serve.ServerOptions.Access;
import org.eellm.serve.ServerOptions.Bounds;
import org.eellm.serve.ServerOptions.TlsFiles;
import org.eellm.serve.access.AllowedOrigins;
import org.eellm.serve.access.ApiKey;
import org.eellm.serve.access.ApiKeys;
import org.eellm.serve.access.HostNames;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm serve}: a model behind OpenAI's API, and a page that shows where tokens leave. */
@Command(
    name = "serve",
    description = {
      "Serves a model: OpenAI's completions and chat at /v1, EE-LLM's /api, Prometheus' metrics at"
          + " /metrics, and at / a page that shows where tokens leave.",
      "Modes, policies and how tokens are drawn hold for requests that do not say. SIGTERM and"
          + " Ctrl-C end it when the requests in work are done."
    })
public final class ServeCommand extends EellmCommand {
  private static final String KEY_VARIABLE = "EELLM_API_KEY";
  private static final Duration LOOK = Duration.ofMillis(200);
  private static final Duration WARM_UP = Duration.ofSeconds(3);

  @Mixin private ModelOptions modelOptions;
  @Mixin private DecodingOptions decodingOptions;
  @Mixin private SamplingTableOptions samplingOptions;
  @Mixin private MeshOptions meshOptions;

  // Read before the arguments are, so nothing asks for its value here.
  @Option(
      names = OptionsFile.OPTION,
      paramLabel = "FILE",
      description =
          "YAML file of these options without their dashes, as in port: 8000; the command line"
              + " overrules it.")
  @SuppressWarnings("UnusedVariable")
  private Optional<Path> config;

  @Option(
      names = "--host",
      paramLabel = "HOST",
      defaultValue = "127.0.0.1",
      description =
          "Address to listen at; ${DEFAULT-VALUE} by default, this machine alone. 0.0.0.0 for all"
              + " networks: then give a key.")
  private String host;

  @Option(
      names = "--allow-host",
      paramLabel = "NAME",
      split = ",",
      description =
          "Names under which browsers and other clients may ask, besides --host, localhost and IP"
              + " addresses; * for any.")
  private List<String> allowedHosts = List.of();

  @Option(
      names = "--allow-origin",
      paramLabel = "ORIGIN",
      split = ",",
      description =
          "Pages of other sites that may ask and read the answers, by scheme, name and port, as in"
              + " https://app.example.com:8443; * for all pages: then give a key.")
  private List<String> allowedOrigins = List.of();

  @Option(
      names = "--port",
      paramLabel = "P",
      defaultValue = "8000",
      description = "${DEFAULT-VALUE} by default; 0 for any that is free.")
  private int port;

  @Option(
      names = "--model-name",
      paramLabel = "NAME",
      description = "What requests call the model; the name of its run or folder by default.")
  private Optional<String> modelName;

  @Option(
      names = "--api-key",
      paramLabel = "KEY",
      description =
          "Clients have to send it. The variable " + KEY_VARIABLE + " does the same, out of sight.")
  private Optional<String> apiKey;

  @Option(
      names = "--api-key-file",
      paramLabel = "FILE",
      description =
          "Has a key on each line, as KEY, NAME KEY, or NAME KEY LIMIT of requests at once; clients"
              + " have to send one of them.")
  private Optional<Path> apiKeyFile;

  @Option(
      names = "--tls-certificate",
      paramLabel = "FILE",
      description = "PEM file of the server's certificate and those that vouch for it, for HTTPS.")
  private Optional<Path> tlsCertificate;

  @Option(
      names = "--tls-key",
      paramLabel = "FILE",
      description = "PEM file of the certificate's key, without a password.")
  private Optional<Path> tlsKey;

  @Option(
      names = "--batch-size",
      paramLabel = "N",
      defaultValue = "" + Limits.BATCH_SIZE,
      description = "Texts in work at once; ${DEFAULT-VALUE} by default.")
  private int batchSize;

  @Option(
      names = "--max-queued",
      paramLabel = "N",
      defaultValue = "256",
      description =
          "Texts that may wait; further ones are refused with status 429. ${DEFAULT-VALUE} by"
              + " default.")
  private int maxQueued;

  @Option(
      names = "--cache-tokens",
      paramLabel = "N",
      description =
          "Positions whose keys and values have room, all texts together; as many as 16 texts of"
              + " the model's context or 4 GiB hold by default, or fewer where memory is short.")
  private Optional<Integer> cacheTokens;

  @Option(
      names = "--max-body-bytes",
      paramLabel = "N",
      defaultValue = "" + Bounds.MAX_BODY_BYTES,
      description = "Longest body of a request; ${DEFAULT-VALUE} by default.")
  private int maxBodyBytes;

  @Option(
      names = "--max-connections",
      paramLabel = "N",
      defaultValue = "" + Bounds.MAX_CONNECTIONS,
      description =
          "Connections at once; beyond, one without a request in work is closed. ${DEFAULT-VALUE}"
              + " by default.")
  private int maxConnections;

  @Option(
      names = "--max-client-connections",
      paramLabel = "N",
      defaultValue = "" + Bounds.MAX_CLIENT_CONNECTIONS,
      description = "Connections at once of one address; ${DEFAULT-VALUE} by default.")
  private int maxClientConnections;

  @Option(
      names = "--read-timeout",
      paramLabel = "SECONDS",
      defaultValue = "30",
      description =
          "For a request's head to arrive, and again for its body, else status 408;"
              + " ${DEFAULT-VALUE} by default.")
  private int readTimeout;

  @Option(
      names = "--request-timeout",
      paramLabel = "SECONDS",
      defaultValue = "600",
      description = "For a request to be done, else status 504; ${DEFAULT-VALUE} by default.")
  private int requestTimeout;

  @Option(
      names = "--drain-timeout",
      paramLabel = "SECONDS",
      defaultValue = "30",
      description = "For requests in work when the server is to stop; ${DEFAULT-VALUE} by default.")
  private int drainTimeout;

  @Override
  public Integer call() {
    ConfigException.requireAtLeast(1, batchSize, "--batch-size");
    samplingOptions.over(new SamplingDefaults(Map.of())).over(SamplingParams.AS_PREDICTED);
    ConfigException.requireAtLeast(1, maxQueued, "--max-queued");
    cacheTokens.ifPresent(tokens -> ConfigException.requireAtLeast(1, tokens, "--cache-tokens"));
    ServerOptions options = new ServerOptions(host, port, access(), bounds());
    Optional<Integer> toLaunch = meshOptions.toLaunch(spec);
    if (toLaunch.isPresent()) {
      return MeshOptions.launch(spec, toLaunch.get());
    }
    return meshOptions.inWorld(
        modelOptions.device(),
        world -> world.rank() == 0 ? serve(options, world, err()) : follow(world, err()));
  }

  private int serve(ServerOptions options, World world, PrintWriter err) {
    if (options.access().keys().isEmpty()) {
      List<String> strangers = new ArrayList<>();
      if (!isOnThisMachine(host)) {
        strangers.add("everybody who can reach " + host);
      }
      if (allowedOrigins.contains(AllowedOrigins.ANY)) {
        strangers.add("every page in a browser that can reach " + host);
      }
      strangers.forEach(
          who -> err.printf("warning: %s may use this server; give it an --api-key-file%n", who));
    }
    String scheme = options.access().tls().isPresent() ? "https" : "http";
    try (StopSignals signals = StopSignals.listen(err, "finishing the requests in work");
        Server server = Server.start(options)) {
      err.printf(
          "loading the model; %s://%s:%d/health tells when it is there%n",
          scheme, host, server.port());
      try (LoadedModel model = meshOptions.loadToServe(modelOptions, world)) {
        TensorParallelEngine.run(
            world,
            model.decoder(),
            engines -> {
              try (Engine engine = engines.start(model.decoder(), limits(model))) {
                ServedModel served = served(model, engine);
                engine.warmUp(WARM_UP);
                server.serve(served);
                err.printf(
                    "serving %s at %s://%s:%d/%nchat template: %s%n",
                    served.name(), scheme, host, server.port(), served.template().description());
                served
                    .sampling()
                    .description()
                    .ifPresent(
                        values ->
                            err.printf(
                                "tokens are drawn as %s and the options say: %s; requests overrule"
                                    + " it%n",
                                HuggingFaceConfig.GENERATION_CONFIG, values));
                while (!signals.await(LOOK) && engine.isOpen()) {}
                server.stop(); // before the engine, which its requests need
                engine.requireAlive();
              }
            });
      }
    }
    return ExitCode.OK;
  }

  /** Takes part in the first rank's steps until it ends. */
  private int follow(World world, PrintWriter err) {
    try (StopSignals _ = StopSignals.listen(err, "ending with the first rank");
        LoadedModel model = meshOptions.loadToServe(modelOptions, world)) {
      TensorParallelEngine.run(world, model.decoder(), _ -> {});
    }
    return ExitCode.OK;
  }

  private Access access() {
    if (tlsCertificate.isPresent() != tlsKey.isPresent()) {
      throw new ConfigException(
          "--tls-certificate and --tls-key: HTTPS needs both; give the other one too");
    }
    Optional<TlsFiles> tls =
        tlsCertificate.flatMap(file -> tlsKey.map(key -> new TlsFiles(file, key)));
    return new Access(
        keys(),
        new HostNames(host, Set.copyOf(allowedHosts)),
        new AllowedOrigins(Set.copyOf(allowedOrigins)),
        tls);
  }

  private ApiKeys keys() {
    if (apiKey.isPresent() && apiKeyFile.isPresent()) {
      throw new ConfigException("--api-key: has no effect beside --api-key-file; leave it out");
    }
    return apiKeyFile
        .map(ApiKeys::read)
        .or(
            () ->
                apiKey
                    .or(() -> Optional.ofNullable(System.getenv(KEY_VARIABLE)))
                    .map(key -> new ApiKeys(List.of(ApiKey.of(key)))))
        .orElse(ApiKeys.NONE);
  }

  private Bounds bounds() {
    return new Bounds(
        maxBodyBytes,
        Duration.ofSeconds(readTimeout),
        Duration.ofSeconds(requestTimeout),
        Duration.ofSeconds(drainTimeout),
        maxConnections,
        maxClientConnections);
  }

  private static boolean isOnThisMachine(String host) {
    try {
      return InetAddress.getByName(host).isLoopbackAddress();
    } catch (UnknownHostException e) {
      return true; // it cannot be listened at, which the server says
    }
  }

  private Limits limits(LoadedModel model) {
    Limits limits =
        Limits.of(model.decoder())
            .withVocabulary(model.vocabulary())
            .withBatchSize(batchSize)
            .withMaxPending(decodingOptions.maxPending())
            .withMaxQueued(maxQueued);
    return cacheTokens.map(limits::withCacheTokens).orElse(limits);
  }

  private ServedModel served(LoadedModel model, Engine engine) {
    decodingOptions.require(model, model.context()); // says what is wrong before the first request
    String name = modelName.orElseGet(() -> name(model.folder()));
    if (model.adapters().contains(name)) {
      throw new ConfigException(
          "--adapter: %s is what requests call the model; give the adapter another name, or the model with --model-name"
              .formatted(name));
    }
    return new ServedModel(
        name,
        model,
        engine,
        ChatTemplate.of(model.tokenizer()),
        decodingOptions.settings(model),
        samplingOptions.over(model.sampling()));
  }

  private static String name(Path folder) {
    Path name = CheckpointStore.run(folder).getFileName();
    if (name == null) {
      throw new ConfigException("--model-name: the model's folder has no name; give one");
    }
    return name.toString();
  }
}
