// The calls that Terraform's provider of AWS makes for aws_lambda_function, _alias, _permission, _layer_version,
// _layer_version_permission, _function_url, _function_event_invoke_config and _provisioned_concurrency_config, by the SDK
// that it uses, in its order: create, wait, read; change, wait, read; delete, read. Ends with 1 at the first that is wrong.
//
//	main ENDPOINT ZIP LAYER_ZIP RUNTIME
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const role = "arn:aws:iam::000000000000:role/x"

var (
	ctx    = context.Background()
	client *lambda.Client
	name   = aws.String("tf-example")
)

func check(holds bool, what string, seen ...any) {
	if !holds {
		fmt.Fprintln(os.Stderr, "FAILED", what, fmt.Sprintf("%+v", seen))
		os.Exit(1)
	}
	fmt.Println("ok", what)
}

func done[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED", err)
		os.Exit(1)
	}
	return value
}

func gone(what string, err error) {
	var missing *types.ResourceNotFoundException
	check(errors.As(err, &missing), what+" is ResourceNotFoundException", err)
}

func layer(zip []byte, runtime string) string {
	published := done(client.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{
		LayerName: aws.String("tf-layer"), Description: aws.String("of Terraform"), LicenseInfo: aws.String("MIT"),
		CompatibleRuntimes:      []types.Runtime{types.Runtime(runtime)},
		CompatibleArchitectures: []types.Architecture{types.ArchitectureX8664}, Content: &types.LayerVersionContentInput{ZipFile: zip}}))
	read := done(client.GetLayerVersion(ctx, &lambda.GetLayerVersionInput{LayerName: aws.String("tf-layer"), VersionNumber: &published.Version}))
	check(*read.Content.CodeSha256 == *published.Content.CodeSha256 && read.Content.CodeSize == int64(len(zip)), "the layer version is read", read)
	byArn := done(client.GetLayerVersionByArn(ctx, &lambda.GetLayerVersionByArnInput{Arn: published.LayerVersionArn}))
	check(*byArn.LayerArn == *published.LayerArn, "… by its ARN", byArn)
	of := func() (*string, *int64) { return aws.String("tf-layer"), &published.Version }
	n, v := of()
	done(client.AddLayerVersionPermission(ctx, &lambda.AddLayerVersionPermissionInput{LayerName: n, VersionNumber: v,
		StatementId: aws.String("all"), Action: aws.String("lambda:GetLayerVersion"), Principal: aws.String("*")}))
	done(client.GetLayerVersionPolicy(ctx, &lambda.GetLayerVersionPolicyInput{LayerName: n, VersionNumber: v}))
	done(client.RemoveLayerVersionPermission(ctx, &lambda.RemoveLayerVersionPermissionInput{LayerName: n, VersionNumber: v, StatementId: aws.String("all")}))
	_, err := client.GetLayerVersionPolicy(ctx, &lambda.GetLayerVersionPolicyInput{LayerName: n, VersionNumber: v})
	gone("a policy without statements", err)
	return *published.LayerVersionArn
}

// What the provider reads of a function each time.
func read() *lambda.GetFunctionOutput {
	got := done(client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: name}))
	done(client.GetFunctionCodeSigningConfig(ctx, &lambda.GetFunctionCodeSigningConfigInput{FunctionName: name}))
	pages := lambda.NewListVersionsByFunctionPaginator(client, &lambda.ListVersionsByFunctionInput{FunctionName: name, MaxItems: aws.Int32(10000)})
	for pages.HasMorePages() {
		done(pages.NextPage(ctx))
	}
	done(client.ListTags(ctx, &lambda.ListTagsInput{Resource: got.Configuration.FunctionArn}))
	return got
}

func function(zip []byte, runtime, layerArn string) {
	created := done(client.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: name, Runtime: types.Runtime(runtime), Handler: aws.String("app.handler"), Role: aws.String(role),
		Code: &types.FunctionCode{ZipFile: zip}, Description: aws.String("made by Terraform"), MemorySize: aws.Int32(256),
		Timeout: aws.Int32(10), Publish: true, PackageType: types.PackageTypeZip, Layers: []string{layerArn},
		Architectures:    []types.Architecture{types.ArchitectureX8664},
		EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(512)},
		Environment:      &types.Environment{Variables: map[string]string{"STAGE": "dev"}},
		TracingConfig:    &types.TracingConfig{Mode: types.TracingModePassThrough},
		LoggingConfig:    &types.LoggingConfig{LogFormat: types.LogFormatText, LogGroup: aws.String("/aws/lambda/tf-example")},
		Tags:             map[string]string{"team": "a"}}))
	check(lambda.NewFunctionActiveV2Waiter(client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: name}, time.Minute) == nil, "the function is active")
	done(client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: name, ReservedConcurrentExecutions: aws.Int32(5)}))
	got := read()
	check(*got.Configuration.CodeSha256 == *created.CodeSha256 && got.Configuration.CodeSize == int64(len(zip)), "its code is told", got.Configuration)
	check(len(got.Configuration.Layers) == 1 && *got.Configuration.Layers[0].Arn == layerArn, "its layer is told", got.Configuration.Layers)
	check(got.Tags["team"] == "a" && *got.Concurrency.ReservedConcurrentExecutions == 5, "tags and concurrency are told", got)
	wait := func() {
		err := lambda.NewFunctionUpdatedV2Waiter(client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: name}, time.Minute)
		check(err == nil, "the function is updated", err)
	}
	done(client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: name, Timeout: aws.Int32(11),
		Description: aws.String("changed"), Layers: []string{layerArn}, Environment: &types.Environment{Variables: map[string]string{"STAGE": "prod"}}}))
	wait()
	done(client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: name, ZipFile: append([]byte{}, zip...),
		Architectures: []types.Architecture{types.ArchitectureX8664}}))
	wait()
	done(client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: name}))
	arn := created.FunctionArn
	done(client.TagResource(ctx, &lambda.TagResourceInput{Resource: aws.String("arn:aws:lambda:us-east-1:000000000000:function:tf-example"), Tags: map[string]string{"team": "b"}}))
	done(client.UntagResource(ctx, &lambda.UntagResourceInput{Resource: aws.String("arn:aws:lambda:us-east-1:000000000000:function:tf-example"), TagKeys: []string{"team"}}))
	done(client.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: name}))
	got = read()
	check(len(got.Tags) == 0 && got.Concurrency == nil && *got.Configuration.Timeout == 11, "all of it has changed", got, arn)
	check(got.Configuration.Environment.Variables["STAGE"] == "prod", "the environment has changed", got.Configuration.Environment)
}

func around() {
	alias := done(client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: name, Name: aws.String("prod"), FunctionVersion: aws.String("1")}))
	done(client.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: name, Name: aws.String("prod"), FunctionVersion: aws.String("2"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"1": 0.5}}}))
	told := done(client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: name, Name: aws.String("prod")}))
	check(*told.AliasArn == *alias.AliasArn && told.RoutingConfig.AdditionalVersionWeights["1"] == 0.5, "the alias is told", told)
	qualifier := aws.String("prod")
	done(client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: name, Qualifier: qualifier, StatementId: aws.String("s3"),
		Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("s3.amazonaws.com"), SourceArn: aws.String("arn:aws:s3:::bucket")}))
	done(client.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name, Qualifier: qualifier}))
	done(client.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: name, Qualifier: qualifier, StatementId: aws.String("s3")}))
	_, err := client.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name, Qualifier: qualifier})
	gone("the policy", err)

	done(client.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeNone,
		InvokeMode: types.InvokeModeBuffered}))
	done(client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: name, StatementId: aws.String("FunctionURLAllowPublicAccess"),
		Action: aws.String("lambda:InvokeFunctionUrl"), Principal: aws.String("*"), FunctionUrlAuthType: types.FunctionUrlAuthTypeNone}))
	done(client.UpdateFunctionUrlConfig(ctx, &lambda.UpdateFunctionUrlConfigInput{FunctionName: name, AuthType: types.FunctionUrlAuthTypeNone}))
	url := done(client.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: name}))
	check(url.AuthType == types.FunctionUrlAuthTypeNone && *url.FunctionUrl != "", "the URL is told", url)
	done(client.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: name}))
	_, err = client.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: name})
	gone("the URL", err)

	done(client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: name, Qualifier: qualifier,
		MaximumRetryAttempts: aws.Int32(0), MaximumEventAgeInSeconds: aws.Int32(60)}))
	done(client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: name, Qualifier: qualifier,
		MaximumRetryAttempts: aws.Int32(1)}))
	events := done(client.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: name, Qualifier: qualifier}))
	check(*events.MaximumRetryAttempts == 1 && events.LastModified != nil, "the configuration of events is told", events)
	done(client.DeleteFunctionEventInvokeConfig(ctx, &lambda.DeleteFunctionEventInvokeConfigInput{FunctionName: name, Qualifier: qualifier}))
	_, err = client.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: name, Qualifier: qualifier})
	gone("the configuration of events", err)

	done(client.PutProvisionedConcurrencyConfig(ctx, &lambda.PutProvisionedConcurrencyConfigInput{FunctionName: name, Qualifier: qualifier,
		ProvisionedConcurrentExecutions: aws.Int32(1)}))
	end := time.Now().Add(2 * time.Minute)
	for {
		kept := done(client.GetProvisionedConcurrencyConfig(ctx, &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: name, Qualifier: qualifier}))
		if kept.Status == types.ProvisionedConcurrencyStatusEnumReady {
			break
		}
		check(time.Now().Before(end), "instances are being kept", kept)
		time.Sleep(200 * time.Millisecond)
	}
	done(client.DeleteProvisionedConcurrencyConfig(ctx, &lambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: name, Qualifier: qualifier}))
	done(client.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: name, Name: qualifier}))
	_, err = client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: name, Name: qualifier})
	gone("the alias", err)
}

func main() {
	client = lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String(os.Args[1]), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", "")})
	zip, layerZip := done(os.ReadFile(os.Args[2])), done(os.ReadFile(os.Args[3]))
	arn := layer(layerZip, os.Args[4])
	function(zip, os.Args[4], arn)
	around()
	done(client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: name}))
	_, err := client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: name})
	gone("the function", err)
	done(client.DeleteLayerVersion(ctx, &lambda.DeleteLayerVersionInput{LayerName: aws.String("tf-layer"), VersionNumber: aws.Int64(1)}))
	_, err = client.GetLayerVersion(ctx, &lambda.GetLayerVersionInput{LayerName: aws.String("tf-layer"), VersionNumber: aws.Int64(1)})
	gone("the layer version", err)
	fmt.Println("all was done")
}
