# make test   everything that must pass before a change lands
# make check  what a small change needs, with Go alone, in about a minute
# make lint   vet, gofumpt, staticcheck, words and lines; for macOS and Windows too
# make soak   kills, power cuts and histories, many rounds of each
# make flaws  plants mistakes, and looks whether the attacks find them
# make fuzz   each fuzz target for FUZZTIME
# make bench  benchmarks, with a yardstick beside each
# make build  the three programs, in bin/
# make release VERSION=1.2.3 [KEY=file URL=…]   packages, and archives for macOS and Windows, in dist/
# make image VERSION=1.2.3 [KEY=file]   the container image, an OCI archive in dist/
# make image-test   the image, and the compose file with it, in containers on this machine
# make chart-test   the chart for Kubernetes, by Helm and by the API's own description
# make deploy-test  from condor_submit to condor_rm, on this machine

GO       ?= go
TOOLS    := .tools
FUZZTIME ?= 5m
ROUNDS   ?= 5
DEBIAN   := gcc libc6-dev python3 openssl curl ruby ruby-xmlrpc php-cli php-curl php-xmlrpc \
            librpc-xml-perl liblwp-protocol-https-perl libxmlrpc-core-c3-dev nodejs util-linux e2fsprogs xfsprogs strace softhsm2 \
            postgresql pgbouncer haproxy chromium-headless-shell libnss3-tools ca-certificates shellcheck systemd prometheus mandoc libxml2-utils keepalived openjdk-17-jre-headless zip

.PHONY: test raced plain replicas others tags tables databases check lint tools soak flaws fuzz bench build release release-tools image image-test chart-test gateway deploy-test requirements packages
.DEFAULT_GOAL := test

# What a test lacks, internal/needs writes here; with CI=true nothing may lack.
SKIPPED := $(CURDIR)/.tools/skipped
export ATM_SKIPPED = $(SKIPPED)

# Everything is compiled as for a release: without the path of this folder, so that every clone
# uses what was compiled in another one, and without C, which the race detector and PKCS #11 need.
export GOFLAGS := $(strip $(filter-out -trimpath,$(shell $(GO) env GOFLAGS)) -trimpath)
export CGO_ENABLED = 0

# The compiler takes a fifth less time when it collects garbage half as often, in about the same
# memory. Programs and tests have the GOGC that they would have.
LAZY := -toolexec 'env GOGC=200'

# Lint vets what is tested, so that go test does not.
TEST := $(GO) test -vet=off $(LAZY)
RACE := CGO_ENABLED=1 $(TEST) -race

# Most tests wait, for disks and for other programs, so more of them run at a time than there
# are processors, and what takes longest begins first. Tests of programs, in processes of their
# own, and of packages that have one goroutine run without the race detector.
LONG  := ./cmd/internal/daemon ./vault/pgstore ./cmd/attack
PLAIN := cmd|deploy|cmd/internal/documents|vault/dynstore|bench|examples/tax|vault/calendar|vault/codec
test:
	@rm -f $(SKIPPED)
	@$(MAKE) --no-print-directory -j2 requirements lint release-tools gateway
	@$(MAKE) --no-print-directory -j4 raced plain replicas others tags tables databases
	@if [ -s $(SKIPPED) ]; then echo; echo "Not tried here:"; sort -u $(SKIPPED); fi

raced:
	$(RACE) -parallel 4 -timeout 25m $(LONG) $$($(GO) list ./... | grep -vxE 'example.com/atm(/($(PLAIN)))?')

plain:
	$(TEST) -parallel 4 -timeout 25m ./cmd ./deploy $$($(GO) list ./... | grep -xE 'example.com/atm(/($(PLAIN)))?')

# With ATM_REPLICAS=2 every server of the tests is two, on one database.
replicas:
	ATM_REPLICAS=2 $(TEST) -parallel 4 -timeout 25m ./cmd/attack ./cmd/internal/daemon

# Module interop has the programs of others, and their modules, to itself.
others:
	cd interop && $(GO) vet $(LAZY) ./... && $(TEST) -timeout 25m ./...

# With the tag pkcs11 the keys of tokens and of the log are in SoftHSM. With fips140=only,
# whatever FIPS 140 does not allow fails.
tags:
	CGO_ENABLED=1 $(GO) vet $(LAZY) -race -tags pkcs11 ./cmd/internal/hsm && $(RACE) -tags pkcs11 -timeout 25m ./cmd/internal/daemon -run TestModule
	GODEBUG=fips140=only $(TEST) -short -timeout 25m ./auth ./certs ./audit ./vault/boltstore ./vault/sealing

# With ATM_DATABASE=dynamodb the database is a table of DynamoDB. The rest of it is in soak.
ON_TABLES := ATM_DATABASE=dynamodb ATM_REPLICAS=2 $(TEST) -parallel 4
tables:
	$(ON_TABLES) -timeout 25m ./cmd/internal/daemon -run 'Test(ReplicasKnow|RequestIDIsAnswered|KeysRotatedOn|WrongFolders)'

databases:
	$(TEST) -parallel 4 -timeout 25m ./vault/pgstore -run 'Test(|Pooled|Serializable|Trimmed)StoreKeeps'

# Those that need nothing but Go and take seconds; what needs a program of others is skipped
# where there is none.
SLOW := cmd|bench|deploy|cmd/attack|cmd/internal/daemon|cmd/internal/documents|examples/tax|vault/pgstore|vault/dynstore
check: tools
	$(GO) vet $(LAZY) ./...
	@$(FORMATTED)
	$(TEST) -short $$($(GO) list ./... | grep -vE '^example.com/atm/($(SLOW))$$')

FORMATTED = unformatted=$$($(TOOLS)/gofumpt -l .); \
	if [ -n "$$unformatted" ]; then echo "gofumpt would change:"; echo "$$unformatted"; exit 1; fi

# What is for other systems is type-checked; of programs, one is linked for macOS here, and those
# for Windows by the test of the release.
lint: tools
	$(GO) vet $(LAZY) ./...
	@$(FORMATTED)
	GOGC=400 $(TOOLS)/staticcheck ./...
	$(TEST) . -run 'TestImports|TestForbidden|TestLines|TestWords'
	$(GO) run $(LAZY) ./internal/portable darwin/arm64 windows/amd64
	GOOS=darwin GOARCH=arm64 $(GO) vet $(LAZY) ./internal/durable ./internal/machine ./internal/owner
	GOOS=darwin GOARCH=arm64 $(GO) build $(LAZY) -o /dev/null ./cmd/atmclient

# The versions in tools.mod. They are built rather than run by "go tool",
# because staticcheck would look for our packages in tools.mod then.
tools:
	@$(GO) build $(LAZY) -modfile=tools.mod -o $(TOOLS)/ mvdan.cc/gofumpt honnef.co/go/tools/cmd/staticcheck

# Those in release.mod make packages and say what is in them.
release-tools:
	@$(GO) build $(LAZY) -modfile=release.mod -o $(TOOLS)/ github.com/goreleaser/nfpm/v2/cmd/nfpm github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

# Object storage for tests.
gateway:
	@cd interop && $(GO) build $(LAZY) -o ../$(TOOLS)/ ./gateway

release: release-tools
	deploy/packages/release.sh $(VERSION) $(KEY) $(URL)
	ls -l dist

image: release-tools
	deploy/image/build.sh $(VERSION) $(KEY)
	ls -l dist

image-test: DEBIAN += podman podman-compose runc netavark aardvark-dns iptables
image-test: packages release-tools
	$(GO) vet -tags containers ./deploy
	$(GO) test -tags containers ./deploy -v -timeout 20m -run 'TestRollingRestartOfTheComposeFile'

# Helm and kubeconform, of the versions in chart.mod.
chart-test:
	@$(GO) build -modfile=chart.mod -o $(TOOLS)/ helm.sh/helm/v3/cmd/helm github.com/yannh/kubeconform/cmd/kubeconform
	$(GO) test -tags containers ./deploy -v -run 'TestChartIsWhatKubernetesReads'

deploy-test: DEBIAN += mmdebstrap systemd-container iproute2
deploy-test: packages release-tools
	deploy/test/live.sh

# What the tests need besides Go. Debian packages are installed when root, and
# named otherwise; the tests that need them are skipped then. Node.js comes with
# npm, but not from Debian.
requirements: packages $(foreach folder,examples/node console/testdata interop/testdata clients/typescript vault/dynstore/dyntest/testdata,$(folder)/node_modules/.package-lock.json)

%/node_modules/.package-lock.json: %/package-lock.json | packages
	cd $* && npm ci --no-audit --no-fund --loglevel=error || test "$$CI" != true

packages:
	@missing=""; \
	if command -v dpkg >/dev/null; then \
		for package in $(DEBIAN); do \
			dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; \
		done; \
	else echo "no Debian packages here; the tests use what there is of: $(DEBIAN)"; fi; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	test -z "$$missing" && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qy --no-install-recommends$$missing && exit 0; \
	fi; \
	echo "missing; install with: apt-get install$$missing"; \
	test "$$CI" != true

build:
	$(GO) build -ldflags="-s -w" -o bin/ ./cmd/...

soak: DEBIAN += patroni etcd-server firefox-esr
soak: packages release-tools
	ATM_SOAK=1 $(GO) test ./cmd -v -timeout 3h -run 'TestKilledServerKeepsWhatItAnswered|TestPowerCutKeepsWhatWasAnswered|TestFullDiskIsUnavailableUntilThereIsSpace|TestHistories|TestKilledPrimaryLosesNothing|TestMemoryIsBounded|TestRollingRestartFailsNoCall|TestStandbyThatLags|TestLaggingStandby|TestDamagedVaultsAreRefused|TestPatroniFailoverKeepsWhatWasAnswered|InFirefox|TestLogOfAHundredThousandEntries|TestKilledServerLosesNoEvent|TestReplicaTakesOverFromTheOneThatDelivers'
	ATM_SOAK=1 $(GO) test ./cmd/attack ./cmd/internal/daemon -v -timeout 1h -run 'TestFloodOfFailedSignInsHidesNothing|TestUnknownUserTakesAsLongAsAWrongPassword|TestMovedAccountsKeepBalancesAndReceipts|TestAccountsMoveThroughEveryStore|TestRestoredServerGoesOnFromItsBackup'
	$(GO) test ./vault/... -run KeepsTheContract -count 20 -timeout 2h
	ATM_SOAK=1 $(GO) test ./vault/dynstore -v -timeout 1h
	$(ON_TABLES) -timeout 1h ./cmd/attack ./cmd/internal/daemon
	ATM_SOAK=1 $(GO) test ./deploy -v -timeout 1h -run 'TestReleaseIsReproducibleAndInstallable'
	ATM_SOAK=1 $(GO) test ./vault/calendar ./teller/orders -v -timeout 1h
	ATM_SOAK=1 $(GO) test ./audit -v -timeout 20m -run 'TestVerifiedMeansThatSignedBytesAreWhole'

flaws:
	ATM_FLAWS=1 $(GO) test ./cmd/attack -v -timeout 1h -run 'TestPlantedFlawsAreCaught'

# go test fuzzes one target of one package at a time.
fuzz:
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			$(GO) test $$package -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME); \
		done; \
	done

# Ratios over the wire, medians over ROUNDS interleaved rounds, in bench.json: two of
# them are compared by "go run ./bench/compare OLD NEW". The small benchmarks are
# in the form that benchstat reads.
bench: requirements
	$(GO) test ./bench -run '^$$' -bench All -benchtime $(ROUNDS)x -timeout 2h -args -json $(CURDIR)/bench.json
	$(GO) run ./bench/compare bench.json
	$(GO) test ./bench -run '^$$' -bench Growth -benchtime 10x -timeout 2h -args -json $(CURDIR)/growth.json
	$(GO) test ./bench -run '^$$' -bench Cores -benchtime $(ROUNDS)x -timeout 2h -args -json $(CURDIR)/cores.json
	$(GO) run ./bench/plot bench.json growth.json cores.json docs/performance
	$(GO) test ./bench -run '^$$' -bench 'SlowDisk|Millions|Feed' -benchtime $(ROUNDS)x -timeout 2h
	$(GO) test -run '^$$' -bench . -benchmem $$($(GO) list ./... | grep -vE '/(bench|cmd)$$')
	$(GO) test ./cmd -run '^$$' -bench . -benchtime $(ROUNDS)x -timeout 2h
